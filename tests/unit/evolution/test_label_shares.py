"""The query for the labels' shares: its order of events, and what an earlier attempt at the run left of it."""

from __future__ import annotations

import numpy as np
import pytest

from spti_ray.dp.history import slots_of
from spti_ray.errors import NothingMade, RunDamaged
from spti_ray.evolution.generations import BudgetExhausted
from spti_ray.evolution.label_shares import ask_label_counts
from spti_ray.public.label_shares import label_candidates, label_scoring, with_label_shares
from spti_ray.public.population import Population
from spti_ray.public.scoring import ScoreCache
from spti_ray.types import Candidate, Candidates, NoisyHistogram
from spti_ray.votes import Votes
from tests.unit.dp.bench import Bench, NoNoise
from tests.unit.evolution.test_private_evolution import Recorder, _evolve


@pytest.fixture
def config(make_config):
    return make_config(
        evolution__labels=["cat", "dog", "car"], evolution__label_shares="voted", evolution__generations=3
    )


def _ask(config, engines, recorder):
    scoring = label_scoring(config, engines, ScoreCache())
    return ask_label_counts(config, scoring, recorder, recorder, recorder, recorder)


def _histogram(config, counts):
    ids = tuple(candidate.id for candidate in label_candidates(config.evolution))
    return NoisyHistogram(0, ids, np.array(counts), 1.0, "")


def test_labels_are_asked_about_by_the_same_steps_as_candidates_and_only_once(config, local_engines):
    recorder = Recorder()
    assert _ask(config, local_engines(), recorder) == {"cat": 0, "dog": 1, "car": 2}
    assert recorder.events == ["save", "views ready", "reserve", "1 charged", "vote", "measure"]
    assert [len(ids) for ids in recorder.asked] == [3]


def test_nobody_writes_a_text_to_ask_about_labels(make_config, local_engines):
    for changes in ({"evolution__voting": "joint"}, {"method": "pe-image"}):
        engines = local_engines()
        config = make_config(
            evolution__labels=["cat", "dog"], evolution__label_shares="voted", evolution__lookahead=2, **changes
        )
        _ask(config, engines, Recorder())
        assert not engines.requests and len(engines.render_jobs) == 2


def test_an_answer_that_is_there_is_taken_without_vote_or_charge(config, local_engines):
    again = Recorder(committed={0: _histogram(config, [7, -2, 5])}, slots=0)
    again.saved = {0: Candidates(tuple(label_candidates(config.evolution)))}
    assert _ask(config, local_engines(), again) == {"cat": 7, "dog": -2, "car": 5}
    assert not again.events
    with pytest.raises(RunDamaged, match="generation 0"):
        _ask(config, local_engines(), Recorder(committed={0: _histogram(config, [7, -2, 5])}))


def test_a_question_whose_charge_was_burned_is_asked_again_while_there_are_slots(config, local_engines):
    burned = Recorder(slots=2)
    burned.saved = {0: Candidates(tuple(label_candidates(config.evolution)))}
    assert set(_ask(config, local_engines(), burned)) == {"cat", "dog", "car"} and burned.slots == 1
    burned.slots = 0
    with pytest.raises(BudgetExhausted):
        _ask(config, local_engines(), burned)


class Voters:
    """A shard with nine dogs, a cat and a car. SIMULATED."""

    num_shards = 1

    def ready(self): ...

    def vote(self, query, scored, votes_per_record):
        counts = np.array([9 if label == "dog" else 1 for label in scored.candidates.labels])
        return [Votes(query, 0, counts, max_total=20 * votes_per_record)]


def test_a_question_that_a_crash_burned_at_the_gate_is_answered_in_the_next_slot(config, local_engines, tmp_path):
    bench, store, crashing = Bench(tmp_path, tmp_path / "ledger"), Recorder(), ["after_reserved"]

    def fault(point):
        if point in crashing:
            crashing.clear()
            raise KeyboardInterrupt

    def ask():
        gate = bench.opened(NoNoise(), fault)
        scoring = label_scoring(config, local_engines(), ScoreCache())
        return gate, ask_label_counts(config, scoring, Voters(), gate, store, store)

    with pytest.raises(KeyboardInterrupt):
        ask()
    gate, counts = ask()
    assert counts == {"cat": 1, "dog": 9, "car": 1}
    burned, answered = slots_of(bench.ledger().entries(), "r")
    assert burned.burned and answered.released and {slot.reserved.generation for slot in (burned, answered)} == {0}
    assert burned.reserved.candidates_sha256 == answered.reserved.candidates_sha256, "the same question"
    # And a third attempt asks no more.
    left = gate.slots_left()
    assert ask()[1] == counts and gate.slots_left() == left


def test_shares_without_any_vote_on_candidates_are_no_result(config, local_engines):
    with pytest.raises(BudgetExhausted):
        _evolve(config, local_engines(), Recorder(slots=0))


def test_if_no_labels_text_can_be_rendered_nothing_is_charged(config, local_engines):
    recorder = Recorder()
    with pytest.raises(NothingMade):
        _ask(config, local_engines(unrenderable=lambda job: True), recorder)
    assert not recorder.events


def test_candidates_come_after_it_and_are_checked_as_those_of_a_first_generation(config, local_engines):
    recorder = Recorder()
    _evolve(config, local_engines(), recorder)
    assert list(recorder.saved) == [1, 2]
    assert {candidate.generation for candidate in recorder.saved[1]} == {1}
    failing = Recorder()
    with pytest.raises(NothingMade):
        _evolve(config, local_engines(answer=lambda request: ""), failing)
    assert "reserve" not in failing.events
    stored = Recorder()
    stored.saved = {1: Candidates(tuple(_fallbacks(config, local_engines())))}
    with pytest.raises(NothingMade, match="12 of the 12"):
        _evolve(config, local_engines(), stored)


def _fallbacks(config, engines):
    population = Population(config, engines)
    names = [name for name, count in config.evolution.candidates_per_label().items() for _ in range(count)]
    for i, name in enumerate(names):
        slot = population._slots.new(f"g01-{i:06d}", name)
        yield Candidate(slot.id, slot.fallback, name, 1)


def test_themes_are_asked_about_after_labels(make_config, local_engines):
    """Also where a label's voted share of the themes is less than one."""
    config = make_config(
        evolution__labels=["cat", "dog"],
        evolution__label_shares="voted",
        evolution__generations=3,
        evolution__candidates=30,
        evolution__themes=[4],
    )
    recorder = Recorder()
    _evolve(with_label_shares(config, {"cat": 98, "dog": 2}), local_engines(), recorder)
    assert [theme.label for theme in recorder.themes[1]] == ["cat"] * 4 + ["dog"] and not recorder.themes[2]
    assert {candidate.label for candidate in recorder.saved[2]} == {"cat", "dog"} and len(recorder.saved[2]) == 30
