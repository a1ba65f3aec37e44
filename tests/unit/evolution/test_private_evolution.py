"""The loop's order of events: what can fail fails before the charge, the charge before any vote, the noise once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from spti_ray.errors import NothingMade, RunDamaged
from spti_ray.evolution.generations import BudgetExhausted
from spti_ray.evolution.private_evolution import evolve
from spti_ray.public import scoring as scoring_module
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.population import Population
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.types import Candidate, Candidates, NoisyHistogram, Selected


class Recorder:
    """Voter, gate, store and watcher in one; notes who was asked for what, in order. Its noise is none: SIMULATED."""

    num_shards = 1

    def __init__(self, slots: int = 99, committed: dict[int, NoisyHistogram] | None = None) -> None:
        self.events: list[str] = []
        self.slots = slots
        self.known = committed or {}
        self.saved: dict[int, object] = {}
        self.themes: dict[int, object] = {}
        self.kin: dict[int, object] = {}
        self.asked: list[tuple[str, ...]] = []

    def ready(self):
        self.events.append("views ready")

    def show(self, generation, block, votes_per_record):
        self.events.append(f"shown {len(block.candidates)} of generation {generation} for {votes_per_record} votes")

    def vote(self, query, scored, votes_per_record):
        assert query == "the reserved query"
        self.events.append("vote")
        return ()

    def committed(self, generation):
        return self.known.get(generation)

    def slots_left(self):
        return self.slots

    def reserve(self, generation, sha256, ids):
        self.events.append("reserve")
        self.asked.append(ids)
        self.slots -= 1
        return SimpleNamespace(generation=generation, ids=ids, query="the reserved query")

    def odometer_reading(self):
        return f"{self.events.count('reserve')} charged"

    def charged(self, reading):
        self.events.append(reading)

    def measure(self, reservation, votes, num_shards):
        list(votes)
        self.events.append("measure")
        ids = reservation.ids
        return NoisyHistogram(reservation.generation, ids, np.arange(len(ids)), 1.0, "")

    def load(self, generation):
        return self.saved.get(generation)

    def load_themes(self, generation):
        return self.themes.get(generation, ())

    def load_kin(self, generation):
        return self.kin.get(generation, ())

    def save(self, generation, scored, question):
        self.events.append("save")
        self.saved[generation] = scored.candidates
        self.themes[generation], self.kin[generation] = question.themes, question.kin

    def save_selected(self, generation, selected):
        self.events.append("selected")

    def generation(self, number, stage): ...


def _evolve(config, engines, recorder, start=()):
    population = Population(config, engines)
    scoring = Scoring(config, engines, population.variations, ScoreCache())
    return evolve(config, population, scoring, recorder, recorder, recorder, recorder, start)


def test_candidates_are_durable_and_views_ready_before_the_charge_and_the_charge_before_any_vote(
    make_config, local_engines
):
    recorder = Recorder()
    _evolve(make_config(), local_engines(), recorder)
    before, after = ["save", "views ready", "reserve"], ["vote", "measure", "selected"]
    assert recorder.events == [*before, "1 charged", *after, *before, "2 charged", *after]


def test_candidates_are_shown_ahead_of_the_charge_and_nothing_comes_back(make_config, local_engines, monkeypatch):
    monkeypatch.setattr(scoring_module, "_LEAST_BLOCK", 5)
    recorder = Recorder()
    _evolve(make_config(privacy__votes_per_record=2), local_engines(), recorder)
    shown = [f"shown 5 of generation {generation} for 2 votes" for generation in (0, 1)]
    before = recorder.events[: recorder.events.index("reserve")]
    assert before == [shown[0]] * 2 + ["save", "views ready"]
    assert [event for event in recorder.events if event.startswith("shown")] == [shown[0]] * 2 + [shown[1]] * 2


def test_a_committed_generation_is_replayed_without_vote_or_charge(make_config, local_engines):
    first = Recorder()
    whole = _evolve(make_config(), local_engines(), first)
    ids = tuple(candidate.id for candidate in first.saved[0])
    again = Recorder(committed={0: NoisyHistogram(0, ids, np.arange(len(ids)), 1.0, "")})
    again.saved = {0: first.saved[0]}
    engines = local_engines()
    resumed = _evolve(make_config(), engines, again)
    assert again.events.count("reserve") == again.events.count("vote") == 1
    assert [item.candidate for item in resumed] == [item.candidate for item in whole]


def test_the_first_generations_are_asked_about_their_themes_of_which_nothing_is_shown_ahead(
    make_config, local_engines, monkeypatch
):
    monkeypatch.setattr(scoring_module, "_LEAST_BLOCK", 5)
    recorder = Recorder()
    selected = _evolve(make_config(evolution__themes=[3]), local_engines(), recorder)
    assert [len(ids) for ids in recorder.asked] == [3, 12]
    assert recorder.asked[0] == tuple(theme.id for theme in recorder.themes[0]) and not recorder.themes[1]
    assert not any("of generation 0" in event for event in recorder.events)
    assert any("of generation 1" in event for event in recorder.events)
    assert {item.candidate.id for item in selected} <= {candidate.id for candidate in recorder.saved[1]}


def test_the_first_question_can_be_about_all_values_of_a_public_vocabulary_and_the_next_about_clusters(
    make_config, local_engines
):
    recorder = Recorder()
    config = make_config(evolution__themes=[5, 4], evolution__vocabulary="subject", evolution__candidates=6)
    _evolve(config, local_engines(), recorder)
    engines = local_engines()
    list(Population(config, engines).random_api())
    shown = [request.prompt.splitlines()[-1].split("Subject: ")[1].split(".")[0] for request in engines.requests]
    by_id = dict(zip((f"g00-{i:06d}" for i in range(6)), shown, strict=False))
    subjects = [{by_id[member] for member in theme.members} for theme in recorder.themes[0]]
    assert all(len(of_theme) == 1 for of_theme in subjects) and len(set().union(*subjects)) == 5
    assert len(recorder.asked[0]) == 5 and len(recorder.asked[1]) == 4  # clusters


def test_a_generation_voted_on_in_themes_is_replayed_from_what_was_stored(make_config, local_engines):
    config = make_config(evolution__themes=[3])
    first = Recorder()
    whole = _evolve(config, local_engines(), first)
    again = Recorder(committed={0: NoisyHistogram(0, first.asked[0], np.arange(3), 1.0, "")})
    again.saved, again.themes = {0: first.saved[0]}, {0: first.themes[0]}
    assert _evolve(config, local_engines(), again) == whole
    assert again.events.count("reserve") == 1


@pytest.mark.parametrize("is_replayed", [False, True])
def test_after_themes_the_writer_is_asked_for_more_of_a_kind_where_candidates_are_voted_on_too(
    make_config, local_engines, is_replayed
):
    more = {"themes": [3], "generations": 3, "variation": {"rephrase_share": 1}}
    config = make_config(evolution=make_config().evolution.model_dump() | more)

    def never_twice(request):
        return "a kite like " + "".join(chr(ord("a") + int(digit)) for digit in str(request.seed))

    recorder, engines = Recorder(), local_engines(answer=never_twice)
    _evolve(config, engines, recorder)
    assert len(recorder.asked[1]) == 12 and not recorder.themes[1]
    if is_replayed:
        again = Recorder(
            committed={
                i: NoisyHistogram(i, recorder.asked[i], np.arange(len(recorder.asked[i])), 1.0, "") for i in (0, 1)
            }
        )
        again.saved, again.themes = recorder.saved, recorder.themes
        again.kin, engines = {0: recorder.kin[0], 1: recorder.kin[1]}, local_engines(answer=never_twice)
        _evolve(config, engines, again)
    texts = {candidate.id: candidate.text for candidate in recorder.saved[1]}
    kinds = [{texts[member] for member in group.members} for group in recorder.kin[1]]
    assert sum(map(len, kinds)) == 12 and 1 < len(kinds) <= 2
    written = sum(candidate.generation == 2 for candidate in recorder.saved[2])
    prompts = [request.prompt for request in engines.requests][-written:]
    assert written and all("all of one kind" in prompt for prompt in prompts)
    for prompt in prompts:
        shown = {text for text in texts.values() if f"): {text}\n" in prompt}
        assert shown and any(shown <= kind for kind in kinds)


def test_without_themes_nobody_is_of_a_kind(make_config, local_engines):
    recorder = Recorder()
    _evolve(make_config(), local_engines(), recorder)
    assert recorder.kin == {0: (), 1: ()}


def test_without_slots_the_last_measured_generation_is_the_result(make_config, local_engines):
    recorder = Recorder(slots=1)
    assert _evolve(make_config(evolution__generations=3), local_engines(), recorder)
    assert recorder.events.count("measure") == 1
    with pytest.raises(BudgetExhausted):
        _evolve(make_config(), local_engines(), Recorder(slots=0))


def test_a_committed_generation_whose_candidates_are_gone_is_refused(make_config, local_engines):
    lost = Recorder(committed={0: NoisyHistogram(0, ("g00-000000",), np.array([1]), 1.0, "")})
    with pytest.raises(RunDamaged, match="generation 0"):
        _evolve(make_config(), local_engines(), lost)


def test_a_run_that_goes_on_starts_with_the_survivors_and_counts_on(make_config, local_engines):
    config = make_config(origin={"run": "r", "path": "x", "generation": 5})
    start = tuple(Selected(Candidate(f"g04-{i:06d}", f"a red thing {i}", "all", 4), 9, 1) for i in range(3))
    recorder = Recorder()
    _evolve(config, local_engines(), recorder, start)
    assert list(recorder.saved) == [5, 6] == list(config.generation_numbers)
    first = {candidate.id: candidate for candidate in recorder.saved[5]}
    assert len(first) == 12 and {item.candidate.id for item in start} < set(first)
    assert {first[name].parent_id for name in first if name.startswith("g05-")} <= {i.candidate.id for i in start}


def test_survivors_alone_are_no_result(make_config, local_engines):
    start = (Selected(Candidate("g04-000000", "a red thing", "all", 4), 9, 1),)
    with pytest.raises(BudgetExhausted):
        _evolve(make_config(), local_engines(), Recorder(slots=0), start)


def test_a_writer_or_renderer_that_fails_ends_the_run_before_anything_is_stored_or_charged(make_config, local_engines):
    config = make_config(evolution__candidates=20)
    for engines in (local_engines(answer=lambda request: ""), local_engines(unrenderable=_all_but(2))):
        recorder = Recorder()
        with pytest.raises(NothingMade):
            _evolve(config, engines, recorder)
        assert not {"reserve", "vote", "save"} & set(recorder.events)
    recorder = Recorder()
    _evolve(
        make_config(evolution__candidates=20, evolution__generations=1),
        local_engines(unrenderable=_all_but(3)),
        recorder,
    )
    assert "reserve" in recorder.events


def _all_but(good):
    """Renders of all texts fail but of the first few."""
    seen = []
    return lambda job: seen.append(job) or len(seen) > good


def test_a_first_generation_of_fallbacks_that_an_earlier_attempt_stored_is_charged_no_more(make_config, local_engines):
    config = make_config()
    population = Population(config, local_engines())
    slots = [population._slots.new(f"g00-{i:06d}", "all") for i in range(12)]
    again = Recorder()
    again.saved = {0: Candidates(tuple(Candidate(slot.id, slot.fallback, "all", 0) for slot in slots))}
    with pytest.raises(NothingMade, match="12 of the 12"):
        _evolve(config, local_engines(), again)
    assert "reserve" not in again.events
    # Once it is charged and committed, the run goes on: what was spent is spent.
    ids = tuple(candidate.id for candidate in again.saved[0])
    paid = Recorder(committed={0: NoisyHistogram(0, ids, np.arange(len(ids)), 1.0, "")})
    paid.saved = dict(again.saved)
    assert _evolve(config, local_engines(), paid)


def test_a_writer_that_fails_later_is_told_and_ends_nothing(make_config, local_engines):
    written, asked = FallbackCounts(), []
    engines = local_engines()
    good = engines._write
    engines._write = lambda batch: good(batch) if asked.append(1) or len(asked) < 9 else [None for _ in batch]
    config = make_config(evolution__generations=3)
    population = Population(config, engines, written)
    scoring = Scoring(config, engines, population.variations, ScoreCache())
    recorder = Recorder()
    evolve(config, population, scoring, recorder, recorder, recorder, recorder)
    assert recorder.events.count("reserve") == 3
    assert written.counts["2"].share == 1.0 and written.counts["0"].share < 0.5
