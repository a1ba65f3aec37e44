import itertools
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.config.method_traits import candidates_are_images
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.ledger import Ledger
from spti_ray.evolution.label_shares import ask_label_counts
from spti_ray.evolution.private_evolution import evolve
from spti_ray.planning.plan import noise_plan, plan_summary
from spti_ray.planning.plan_text import plan_lines
from spti_ray.planning.steps_ahead import StepsAhead
from spti_ray.planning.workload import phases
from spti_ray.public.image_population import ImagePopulation
from spti_ray.public.label_shares import label_scoring
from spti_ray.public.population import Population
from spti_ray.public.render_jobs import Recipes
from spti_ray.public.rendering import render_release
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.public.selection import allot_images
from spti_ray.types import NoisyHistogram


def total_steps(config, generation: int = 0) -> int:
    return StepsAhead(config).begin(generation, done=0)


STICKERS = Path(__file__).parents[3] / "jobs" / "stickers.yaml"


def test_the_summary_says_what_a_run_costs_and_makes(make_config):
    config = make_config(
        privacy__votes_per_record=2, privacy__spare_slots=1, evolution__labels=[{"name": "a"}, {"name": "b"}]
    )
    summary = plan_summary(config)
    noise = noise_plan(config)
    assert summary["sigma"] == noise.sigma > 0
    assert (summary["epsilon"], summary["delta"]) == (2.0, 1e-5)
    assert summary["achieved_epsilon"] <= 2.0 < summary["replace_one_epsilon"]
    assert summary["votes_per_record"] == 2 and summary["generations"] == 2 and summary["spare_slots"] == 1
    assert summary["candidates"] == 12 and summary["candidates_per_label"] == {"a": 6, "b": 6}
    assert summary["release_images"] == 6 and summary["dataset"] == "toys"


def test_the_noise_follows_the_plan(make_config):
    def sigma(**changes: Any) -> float:
        return plan_summary(make_config(**changes))["sigma"]

    assert sigma(privacy__epsilon=1.0) > sigma() > sigma(privacy__epsilon=4.0)
    assert sigma(privacy__delta=1e-6) > sigma()
    assert sigma(evolution__generations=5) > sigma()
    assert sigma(privacy__votes_per_record=2) > sigma()
    assert sigma(privacy__spare_slots=1) == sigma(evolution__generations=3)
    assert sigma(evolution__candidates=24) == sigma()


def test_a_publicly_known_size_gives_the_signal_per_candidate(make_config):
    summary = plan_summary(make_config(), private_records=1200)
    assert summary["votes_per_candidate"] == 100
    assert summary["votes_per_candidate_over_sigma"] == pytest.approx(100 / summary["sigma"])
    assert any("100.00 votes per candidate" in line for line in plan_lines(summary))
    assert "votes_per_candidate" not in plan_summary(make_config())


def test_the_signal_of_a_generation_voted_on_in_themes_is_that_of_a_theme(make_config):
    config = make_config(evolution__themes=[3])
    summary = plan_summary(config, private_records=1200)
    assert summary["themes"] == [3]
    assert [round(signal * summary["sigma"]) for signal in summary["signal"].values()] == [400, 100]
    assert summary["votes_per_candidate"] == 400 and summary["voted_on"] == "theme", "the first question decides most"
    lines = "\n".join(plan_lines(summary))
    assert "the first voted on in 3 themes" in lines and "by generation" in lines
    assert summary["sigma"] == plan_summary(make_config())["sigma"], "a question costs the same, whatever is asked"
    single = plan_summary(make_config())["private_records_for_signal"]
    assert summary["private_records_for_signal"] == pytest.approx(single / 4, rel=0.2)


def test_one_of_the_generations_asks_for_the_labels_shares_at_the_cost_of_any_other(make_config):
    changes = {"evolution__labels": ["cat", "dog"], "evolution__generations": 3, "privacy__votes_per_record": 2}
    summary = plan_summary(make_config(**changes, evolution__label_shares="voted"), private_records=1200)
    assert summary["sigma"] == plan_summary(make_config(**changes))["sigma"]
    # A record has one vote for its label, and two among 12 candidates.
    assert [round(signal * summary["sigma"]) for signal in summary["signal"].values()] == [600, 200, 200]
    lines = "\n".join(plan_lines(summary))
    assert "generation 0 has none: it asks for the labels' shares" in lines and "by generation" in lines
    assert "labels' shares" not in "\n".join(plan_lines(plan_summary(make_config(**changes))))
    origin = {"run": "r", "path": "x", "generation": 3}
    later = plan_summary(make_config(**changes, evolution__label_shares="voted", origin=origin))
    assert later["asks_label_shares"] is False and later["texts_to_write"] < 36


def test_votes_that_would_drown_are_pointed_out_with_what_would_not(make_config):
    sigma = plan_summary(make_config())["sigma"]
    few = round(12 * sigma * 0.25)
    (hint,) = plan_summary(make_config(), private_records=few)["hints"]
    fits = int(few / (0.4 * sigma))
    assert (
        "the votes would drown in the noise, even of the first generation" in hint
        and f"at most {fits} candidates or themes" in hint
    )
    assert not plan_summary(make_config(evolution__candidates=fits), private_records=few)["hints"]
    assert not plan_summary(make_config(evolution__themes=[fits]), private_records=few)["hints"], "weak ones add up"
    (hopeless,) = plan_summary(make_config(), private_records=1)["hints"]
    assert "no number of candidates or themes" in hopeless
    assert not plan_summary(make_config())["hints"], "nothing is known of the records"


VISION = {
    "kind": "openai-vision",
    "model": "seer",
    "options": {"base_url": "HTTPS://Seer.Example:443/v1/", "api_key_env": "SEER_KEY"},
}


def with_vision(make_config, voting="caption", trusted=(), **changes):
    engines = {"captioner": VISION | changes.pop("engine", {})}
    settings = {"evolution__voting": voting, "privacy__trusted_endpoints": list(trusted)}
    return make_config(**settings | {"runtime__engines": engines} | changes)


@pytest.mark.parametrize("voting", ["caption", "joint"])
@pytest.mark.parametrize("kind", ["openai-vision", "spti_ray.models.openai_captioner:OpenAICaptioner"])
def test_private_images_go_to_no_endpoint_that_is_not_declared_trusted(make_config, voting, kind):
    for trusted in ((), ("https://seer.example",), ("https://seer.example.evil/v1",), ("http://seer.example/v1",)):
        config = with_vision(make_config, voting, trusted, engine={"kind": kind})
        with pytest.raises(ConfigError, match="would send private images to https://seer.example/v1") as caught:
            plan_summary(config)
        assert str(caught.value).startswith("runtime.engines.captioner: ") and "trusted_endpoints" in str(caught.value)


def test_captions_go_to_no_renderer_at_an_endpoint_that_is_not_trusted(make_config):
    options = {"base_url": "https://painter.example/v1"}
    engines = {"renderer": {"kind": "openai-images", "model": "painter", "options": options}}
    ceiling = {"method": "captions", "privacy__allow_not_private": True, "runtime__engines": engines}
    with pytest.raises(
        ConfigError, match="renderer: would send captions of private images to https://painter.example/v1"
    ):
        plan_summary(make_config(**ceiling))
    trusted = make_config(**ceiling, privacy__trusted_endpoints=[options["base_url"]])
    assert plan_summary(trusted)["engines_outside"] == ("renderer painter at https://painter.example/v1",)
    assert plan_summary(make_config(runtime__engines=engines))["engines_outside"] == (), "texts are public"


def test_an_endpoint_that_is_trusted_is_told_in_the_plan(make_config):
    summary = plan_summary(with_vision(make_config, trusted=["https://SEER.example/v1/"]))
    assert summary["engines_outside"] == ("captioner seer at https://seer.example/v1",)
    assert plan_lines(summary)[-1] == (
        "OUTSIDE     private images are sent to the captioner seer at https://seer.example/v1"
    )
    plain = {"options": {"base_url": "http://seer.example/v1"}}
    clear = with_vision(make_config, trusted=["http://seer.example/v1"], engine=plain)
    assert plan_summary(clear)["engines_outside"][0].endswith("http://seer.example/v1, unencrypted on the way")


def test_an_endpoint_that_sees_nothing_private_needs_no_trust(make_config):
    assert plan_summary(with_vision(make_config, "image"))["engines_outside"] == ()
    assert plan_summary(with_vision(make_config, method="random"))["engines_outside"] == ()
    writer = {"writer": {"kind": "openai", "model": "m", "options": {"base_url": "https://host/v1"}}}
    assert plan_summary(make_config(evolution__voting="joint", runtime__engines=writer))["engines_outside"] == ()


def test_without_privacy_too_private_images_go_to_no_endpoint_that_is_not_trusted(make_config):
    for changes in ({"method": "captions"}, {"privacy__epsilon": math.inf}):
        with pytest.raises(ConfigError, match="would send private images"):
            plan_summary(with_vision(make_config, privacy__allow_not_private=True, **changes))


@pytest.mark.parametrize(
    "url", ["https://user:hush-hush@seer.example/v1", "https://seer.example/v1?key=hush-hush", "seer"]
)
def test_a_trusted_endpoint_is_an_address_without_secrets(url):
    with pytest.raises(ConfigError, match=r"^privacy\.trusted_endpoints: ") as caught:
        load_config(STICKERS, [f"privacy.trusted_endpoints=['{url}']"])
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("private_records", [None, 1000])
def test_the_shipped_job_can_be_planned_and_shown(private_records):
    lines = plan_lines(plan_summary(load_config(STICKERS), private_records))
    assert lines[0].startswith("privacy     epsilon 2 at delta 1e-05 per record")
    assert all("\n" not in line for line in lines)


def test_engines_that_can_not_be_used_are_refused_at_planning(make_config):
    with pytest.raises(ConfigError, match=r"runtime\.engines\.renderer\.num_gpu"):
        plan_summary(make_config(runtime__engines={"renderer": {"num_gpu": 1}}))


def test_a_renderer_that_can_not_vary_images_is_refused_at_planning_for_images(make_config):
    engines = {"renderer": {"kind": "spti_ray.models.fakes:FakeWriter", "model": "x"}}
    plan_summary(make_config(runtime__engines=engines))
    with pytest.raises(ConfigError, match=r"has no method vary\(\)"):
        plan_summary(make_config(runtime__engines=engines, method="pe-image"))


def test_a_pipeline_is_held_to_its_options_and_to_the_method_before_anything_is_loaded(make_config, tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "Flux2KleinPipeline"}')
    engines: dict[str, Any] = {"renderer": {"model": str(tmp_path), "options": {"steps": 4}}}
    assert plan_summary(make_config(runtime__engines=engines))
    with pytest.raises(ConfigError, match=r"^runtime\.engines\.renderer\.model: .*Flux2KleinPipeline.*pe-image"):
        plan_summary(make_config(runtime__engines=engines, method="pe-image"))
    engines["renderer"]["options"]["guidance_rescale"] = 0.7
    with pytest.raises(ConfigError, match=r"^runtime\.engines\.renderer\.options: .* takes no guidance_rescale"):
        plan_summary(make_config(runtime__engines=engines))


def test_what_the_installed_vllm_does_not_take_is_refused_at_planning(make_config):
    engines = {"writer": {"kind": "vllm", "model": "a/b", "options": {"extra": {"max_num_batched_token": 1}}}}
    with pytest.raises(
        ConfigError, match=r"^runtime\.engines\.writer\.options\.extra: the installed vLLM takes no 'max"
    ):
        plan_summary(make_config(runtime__engines=engines))


def test_the_plan_reads_a_local_ledger_and_tells_what_would_fit(make_config, tmp_path):
    config = make_config(ledger__path=str(tmp_path / "ledger"), privacy__epsilon=2.0)
    assert "lifetime_epsilon_spent" not in plan_summary(config)
    assert not (tmp_path / "ledger").exists(), "planning writes nothing"
    noise = noise_plan(config)
    ledger = Ledger(config.ledger.path, config.dataset.id)
    ledger.register(2.5, 1e-5)
    lease = ledger.open_run("r", noise, "c", "n", True)
    for generation in range(noise.generations):
        lease.reserve(generation, "ab", 4, "v")
    before = (tmp_path / "ledger" / "toys.jsonl").read_bytes()
    summary = plan_summary(config)
    assert summary["lifetime_epsilon_spent"] == pytest.approx(2.0, abs=0.01)
    assert summary["lifetime_epsilon_after"] > 2.5 and "privacy.epsilon=" in summary["affordable"]
    assert plan_lines(summary)[-1].startswith("REFUSED")
    assert (tmp_path / "ledger" / "toys.jsonl").read_bytes() == before


def test_the_plan_reads_the_ledger_once(make_config, tmp_path, monkeypatch):
    config = make_config(
        ledger__path=str(tmp_path / "ledger"),
        privacy__epsilon=2.0,
        dataset={"id": "toys", "lifetime_epsilon": 1.0, "registration": "required"},
        origin={"run": "r", "path": str(tmp_path)},
    )
    ledger = Ledger(config.ledger.path, config.dataset.id)
    ledger.register(1.0, 1e-3)
    ledger.open_run("r", calibrate(0.5, 1e-5, 1, 1, 0), "c", "n", True)
    reads = []
    entries = Ledger.entries
    monkeypatch.setattr(Ledger, "entries", lambda self: reads.append(1) or entries(self))
    summary = plan_summary(config)
    assert summary["release_epsilon"] > 2.0 and summary["lifetime_delta"] == 1e-3 and not summary["hints"]
    assert len(reads) == 1


def test_a_run_beyond_the_budget_that_it_would_register_itself_is_refused(make_config, tmp_path):
    def planned(**changes):
        return plan_summary(make_config(ledger__path=str(tmp_path / "ledger"), privacy__epsilon=2.0, **changes))

    summary = planned(dataset={"id": "toys", "lifetime_epsilon": 1})
    assert re.match(r"privacy\.epsilon=(0\.9|1)", summary["affordable"])
    assert plan_lines(summary)[-1].startswith("REFUSED")
    assert not (tmp_path / "ledger").exists(), "planning writes nothing"
    for budget in (None, 2.0, 20.0):
        assert not planned(dataset={"id": "toys", "lifetime_epsilon": budget}).get("affordable")


@pytest.mark.parametrize("unseen", [{"ledger": {"path": "s3://no-such-bucket/x"}}, {"registration": "required"}])
def test_of_a_budget_that_planning_does_not_see_it_says_what_will_most_likely_be_refused(make_config, tmp_path, unseen):
    ledger = unseen.get("ledger", {"path": str(tmp_path / "ledger")})
    dataset = {"id": "toys", "lifetime_epsilon": 1.0, "registration": unseen.get("registration", "first_run")}
    summary = plan_summary(make_config(ledger=ledger, dataset=dataset))
    (hint,) = summary["hints"]
    assert hint.startswith("privacy.epsilon 2 is more than dataset.lifetime_epsilon 1: ")
    assert "affordable" not in summary, "the budget may have been registered at a larger delta"
    assert not plan_summary(make_config(ledger=ledger, dataset=dataset | {"lifetime_epsilon": 2.0}))["hints"]


def test_the_plan_of_a_run_beyond_its_budget_ends_with_the_exit_code_of_budgets(tmp_path):
    settings = ["dataset.lifetime_epsilon=1", f"ledger.path={tmp_path / 'ledger'}"]
    done = CliRunner().invoke(app, ["plan", str(STICKERS), *(f"--set={setting}" for setting in settings)])
    assert done.exit_code == 3 and "\nREFUSED " in done.output


class Fakes:
    """The private side, the gate, the store and the display of an `evolve` run, all simulated."""

    num_shards = 1

    def __init__(self) -> None:
        self.at: list[int] = []
        self.steps = lambda: 0

    def ready(self) -> None: ...

    def show(self, generation, block, votes_per_record) -> None: ...

    def vote(self, query, scored, votes_per_record):
        return ()

    def committed(self, generation):
        return None

    def slots_left(self) -> int:
        return 1

    def reserve(self, generation, sha256, ids):
        return SimpleNamespace(generation=generation, ids=ids, query=None)

    def odometer_reading(self) -> None: ...

    def asked_again(self, count) -> None: ...

    def charged(self, reading) -> None: ...

    def measure(self, reservation, votes, num_shards):
        generation, ids = reservation.generation, reservation.ids
        counts_K = np.random.default_rng(generation).integers(-20, 50, len(ids))
        return NoisyHistogram(generation, ids, counts_K, 1.0, "")

    def load(self, generation):
        return None

    def save(self, generation, scored, themes) -> None: ...

    def save_selected(self, generation, selected) -> None: ...

    def generation(self, number: int, stage: str) -> None:
        if stage == "candidates":
            self.at.append(self.steps())


def simulate(config, engines, folder):
    """A run in this process. Texts written, candidates rendered, images in the release and rendered for it alone, and
    the steps made before each generation."""
    are_images = candidates_are_images(config)
    fakes = Fakes()
    if config.asks_label_shares:
        fakes.steps = lambda: len(engines.render_jobs)
        scoring = label_scoring(config, engines, ScoreCache())
        ask_label_counts(config, scoring, fakes, fakes, fakes, fakes)  # type: ignore[arg-type]
    population = ImagePopulation(config) if are_images else Population(config, engines)
    scoring = Scoring(config, engines, population.variations, ScoreCache(), are_images)
    fakes.steps = lambda: population.outcomes.total() + len(engines.render_jobs)
    selected = evolve(config, population, scoring, fakes, fakes, fakes, fakes)  # type: ignore[arg-type]
    texts, renders = population.outcomes.total(), len(engines.render_jobs)
    quota = config.evolution.quota(config.release.images)
    allotted = allot_images(selected, quota, config.release.images_per_text, are_images)
    if config.release.texts == "varied":
        varied = population.varied([candidate for candidate, _ in allotted])
        allotted = [(candidate, count) for candidate, (_, count) in zip(varied, allotted, strict=True)]
        texts = population.outcomes.total()
    recipes = Recipes(config, scoring.cache.render_of, are_images)
    items = render_release(folder, allotted, scoring.cache.renders, engines, recipes)
    return texts, renders, len(items), len(engines.render_jobs) - renders, fakes.at


LABELS = [{"name": "cat", "share": 2}, {"name": "car", "share": 1}]
VOTED = {"evolution__labels": LABELS, "evolution__label_shares": "voted"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"evolution__generations": 4},
        {"evolution__voting": "caption"},
        {"evolution__voting": "joint"},
        {"evolution__lookahead": 2},
        {"evolution__lookahead": 1, "evolution__voting": "caption"},
        {"evolution__keep_survivors": False, "evolution__generations": 3},
        {"evolution__labels": LABELS, "evolution__candidates": 13, "evolution__generations": 3},
        {"evolution__survivors": 0.01},
        {"evolution__survivors": 1.0},
        {"release__images": 17, "release__images_per_text": 4},
        {"release__texts": "varied", "evolution__labels": LABELS},
        {"release__texts": "varied", "evolution__lookahead": 2},
        {"method": "pe-image", "release__texts": "varied", "release__images": 17, "release__images_per_text": 4},
        {"method": "pe-image", "evolution__generations": 4},
        {"method": "pe-image", "evolution__lookahead": 3, "release__images": 17},
        {"method": "pe-image", "evolution__keep_survivors": False, "evolution__labels": LABELS},
        {**VOTED, "evolution__generations": 3},
        {**VOTED, "evolution__voting": "joint"},
        {**VOTED, "evolution__voting": "caption", "evolution__lookahead": 2},
        {**VOTED, "method": "pe-image", "evolution__generations": 4},
    ],
    ids=str,
)
def test_the_planned_steps_are_the_texts_and_images_that_a_run_makes(make_config, local_engines, tmp_path, changes):
    _planned_as_made(make_config(**changes), local_engines(), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"evolution__labels": LABELS},
        {"evolution__labels": LABELS, "evolution__voting": "joint", "release__texts": "varied"},
        {"evolution__themes": [4], "evolution__generations": 3},
        {"evolution__themes": [4, 4], "release__texts": "varied"},
        {"evolution__themes": [4, 4], "evolution__labels": LABELS, "evolution__generations": 3},
        {"evolution__lookahead": 2, "evolution__labels": LABELS},
    ],
    ids=str,
)
def test_the_planned_steps_count_texts_that_are_held_to_their_subject(
    make_config, local_engines, tmp_path, monkeypatch, changes
):
    # Texts that are asked for again are not foreseen.
    monkeypatch.setattr("spti_ray.public.subjects.Subjects._holds", lambda *_: True)
    letters = itertools.product("abcdefghij", repeat=3)
    engines = local_engines(answer=lambda request: f"a toy {''.join(next(letters))}")
    _planned_as_made(make_config(prompts__hold_subject=True, **changes), engines, tmp_path)


def _planned_as_made(config, engines, tmp_path):
    texts, renders, items, extra, at = simulate(config, engines, tmp_path)
    embedded = {"image_embedder": len(engines.images), "text_embedder": len(engines.texts)}
    assert {role: sum(phase.items(role) for phase in phases(config)) for role in embedded} == embedded
    summary = plan_summary(config)
    assert summary["texts_to_write"] == texts
    assert summary["candidate_renders"] == renders
    assert items == config.release.images
    assert total_steps(config) == texts + renders + extra
    assert len(at) == config.evolution.generations
    for generation, done in enumerate(at):
        assert total_steps(config, generation) == texts + renders + extra - done


def test_by_sampling_a_run_makes_at_least_the_planned_steps(make_config, local_engines, tmp_path):
    """A candidate that is drawn twice leaves room for one more child, which can't be known in advance."""
    config = make_config(evolution__selection="sample", evolution__generations=3)
    texts, renders, _, extra, _ = simulate(config, local_engines(), tmp_path)
    at_most = total_steps(make_config(evolution__keep_survivors=False, evolution__generations=3))
    assert total_steps(config) <= texts + renders + extra <= at_most + config.release.images


def test_after_themes_a_run_makes_at_least_the_planned_steps(make_config, local_engines, tmp_path):
    """How many members of its themes survive depends on their noised votes."""
    config = make_config(evolution__themes=[3], evolution__generations=3)
    texts, renders, _, extra, _ = simulate(config, local_engines(), tmp_path)
    at_most = total_steps(make_config(evolution__keep_survivors=False, evolution__generations=3))
    assert total_steps(config) <= texts + renders + extra <= at_most + config.release.images


def test_a_run_that_was_measured_to_the_end_has_only_its_release_left(make_config):
    config = make_config()
    texts_released = 5  # of 6 images, one of which is a second one: 12 candidates, 0.4 of which survive
    assert total_steps(config, 2) == config.release.images - texts_released


def test_a_fine_tuning_is_planned_with_its_noise_its_steps_and_its_epsilon(make_config):
    embedded = {"method": "dp-finetune", "runtime__engines": "embedded"}
    config = make_config(**embedded, finetune__steps=4, finetune__spare_steps=1)
    summary = plan_summary(config)
    assert summary["achieved_epsilon"] <= summary["epsilon"] == config.privacy.epsilon
    assert (summary["steps"], summary["spare_steps"], summary["sample_rate"]) == (4, 1, 0.25)
    assert "sigma" not in summary and summary["texts_to_write"] == 0
    text = "\n".join(plan_lines(summary))
    assert "NOT CERTIFIED" in text and f"noise multiplier {summary['noise_multiplier']:.4f}" in text
    assert "4 steps and 1 spare" in text and "internal/not-certified" in text
    open_privacy = {"epsilon": float("inf"), "delta": 1e-5, "allow_not_private": True}
    summary = plan_summary(make_config(**embedded, privacy=open_privacy))
    assert summary["noise_multiplier"] == 0 and "epsilon" not in summary
    assert "NOT PRIVATE" in plan_lines(summary)[0]


def test_a_batch_larger_than_the_estimate_is_refused_in_one_line(make_config):
    with pytest.raises(ConfigError, match=r"^finetune: a batch of 20 of about 10 records"):
        plan_summary(
            make_config(
                method="dp-finetune",
                runtime__engines="embedded",
                finetune__batch_size=20,
                finetune__records_estimate=10,
            )
        )
