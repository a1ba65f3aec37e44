"""Whatever is chosen on the page, it says what the planner says: the page's own JavaScript, run."""

from __future__ import annotations

import math
import random
import shlex

import pytest

from spti_ray.config.loading import ConfigError, parse_config, with_overrides
from spti_ray.config.method_traits import roles_needed
from spti_ray.models.factory import engines_config
from spti_ray.planning.costs.report import costs_of
from spti_ray.planning.plan import plan_summary
from tests.unit.planning.page.scripts import computed, values_in

GPU = {"num_gpus": 1, "num_cpus": 2}
LLAMA = {"kind": "vllm", "model": "meta-llama/Llama-3.1-8B-Instruct", "batch_size": 64, **GPU}
SDXL = {"kind": "diffusers", "model": "stabilityai/stable-diffusion-xl-base-1.0", "batch_size": 4, **GPU}
CLIP = {"kind": "clip-vision", "model": "openai/clip-vit-base-patch32", "batch_size": 32, **GPU}
PAID = {
    "kind": "openai", "model": "m",
    "options": {"base_url": "https://host/v1", "prices": {"input": 0.5, "cached_input": 0.1, "output": 2}},
}  # fmt: skip
DRAWN = {"kind": "openai-images", "model": "m", "options": {"base_url": "https://host/v1"}}
PRICED = ("gpu", "H100", "A100", "cpu", "image")
LABELS = [{"name": "cat", "share": 0.61}, {"name": "dog", "share": 0.29}, {"name": "elk", "share": 0.1}]

CONFIGURATIONS = {
    "embedded": {"runtime__engines": "embedded", "evolution__candidates": 60, "evolution__themes": [20]},
    "GPUs that grow": {
        "runtime__engines": {
            "writer": LLAMA | {"max_replicas": 4, "accelerators": ["L40S", "H100"]},
            "renderer": SDXL | {"replicas": 2, "max_replicas": 8, "options": {"steps": 20}},
            "image_embedder": CLIP,
        },
        "runtime__address": "auto",
        "runtime__shards": 3,
        "runtime__shard": {"num_cpus": 2, "num_gpus": 0.25},
        "evolution__candidates": 600,
        "release__images": 300,
        "release__images_per_text": 4,
        "privacy__spare_slots": 2,
    },
    "turns on a GPU": {
        "runtime__engines": {
            "writer": LLAMA | {"num_gpus": 0.5},
            "renderer": SDXL | {"num_gpus": 0.5},
            "image_embedder": CLIP | {"num_gpus": 0.25},
        },
        "runtime__take_turns": ["writer", "renderer"],
        "evolution__lookahead": 3,
        "evolution__voting": "joint",
        "evolution__survivors": 0.5,
    },
    "labels with voted shares": {
        "evolution__labels": LABELS,
        "evolution__label_shares": "voted",
        "evolution__generations": 4,
        "evolution__candidates": 90,
        "evolution__themes": [30, 45],
        "prompts__hold_subject": True,
        "release__texts": "varied",
        "release__images": 50,
        "runtime__engines": "embedded",
    },
    "images": {
        "method": "pe-image",
        "evolution__lookahead": 2,
        "evolution__keep_survivors": False,
        "release__texts": "varied",
        "runtime__engines": "embedded",
    },
    "endpoints": {
        "runtime__engines": {"writer": PAID, "renderer": DRAWN | {"replicas": 0, "max_replicas": 3}},
        "evolution__voting": "caption",
        "prompts__hold_subject": True,
        "evolution__themes": [4],
    },
    "fakes": {"runtime__engines": "fake", "evolution__survivors": 0.5},
}


def choices(values, number, seed):
    """Choices from all over the page; some of them can't be run."""
    rng, limits = random.Random(seed), values["limits"]

    def whole(name):
        least, most = limits[name]
        return max(least, round(least * (most / least) ** (rng.random() ** 2)))

    def epsilon_or_delta(name):
        least, most = limits[name]
        return float(f"{least * (most / least) ** rng.random():.2g}")

    def pool(was):
        most = None if was["most"] is None else rng.randint(1, 12)
        return was if values["fixedEngines"] else {"replicas": rng.randint(1, most or 6), "most": most}

    found = []
    for _ in range(number):
        candidates, generations = whole("candidates"), rng.randint(1, 12)
        themes = [rng.randint(2, max(2, candidates)) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))]
        pools = {role: pool(was) for role, was in values["chosen"]["pools"].items()}
        kinds = {role: rng.choice((None, *known)) for role, known in values["kinds"].items()}
        for role in values["turns"][1:]:
            pools[role], kinds[role] = pools[values["turns"][0]], kinds[values["turns"][0]]
        found.append(
            {
                "epsilon": epsilon_or_delta("epsilon"), "delta": epsilon_or_delta("delta"),
                "votes": rng.choice((1, 1, 1, 2, 4)), "candidates": candidates, "generations": generations,
                "themes": themes, "images": whole("images"), "records": rng.choice((None, 1, 700, 54_321)),
                "pools": pools, "kinds": kinds,
                "prices": {what: round(rng.uniform(0, 5), 2) for what in PRICED if rng.random() < 0.5},
            }
        )  # fmt: skip
    return found


def overrides_of(values, choice):
    """The settings of a choice, all of them, as `--set` takes them."""
    found = {
        "privacy.epsilon": choice["epsilon"], "privacy.delta": choice["delta"],
        "privacy.votes_per_record": choice["votes"], "evolution.candidates": choice["candidates"],
        "evolution.generations": choice["generations"], "evolution.themes": choice["themes"],
        "release.images": choice["images"],
    }  # fmt: skip
    if not values["fixedEngines"]:
        for role, pool in choice["pools"].items():
            found[f"runtime.engines.{role}.replicas"] = pool["replicas"]
            if pool["most"] is not None:
                found[f"runtime.engines.{role}.max_replicas"] = pool["most"]
            if choice["kinds"][role]:
                found[f"runtime.engines.{role}.accelerators"] = [choice["kinds"][role]]
    return [f"{name}={value}" for name, value in found.items()]


def raw(make_config, changes):
    return make_config(**changes).model_dump(mode="json")


def resolved(config):
    """All settings, and each engine's as they are in the end."""
    settings = config.model_dump()
    engines = engines_config(settings["runtime"].pop("engines"))
    return settings, {role: engines.of(role) for role in roles_needed(config)}


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_page_says_what_the_planner_says_of_any_choice(name, make_config, page_of):
    changes = CONFIGURATIONS[name]
    page = page_of(make_config(**changes), prices=("H100=3",))
    values = values_in(page)
    wanted = choices(values, 12, seed=len(name))
    possible = 0
    for choice, told in zip(wanted, computed(page, "given.map(c => Planner.plan(d, c))", wanted), strict=True):
        try:
            config = parse_config(with_overrides(raw(make_config, changes), overrides_of(values, choice)))
            summary = plan_summary(config, choice["records"])
        except ConfigError as error:
            assert told.get("problem"), (choice, str(error))
            continue
        assert "problem" not in told, (choice, told)
        possible += 1
        words = [setting.removeprefix("--set ") for setting in told["sets"]]
        again = with_overrides(raw(make_config, changes), [shlex.split(word)[0] for word in words])
        assert resolved(parse_config(again)) == resolved(config), "what is copied is what was chosen"
        compare_privacy(told, summary, choice)
        prices = tuple(f"{what}={price}" for what, price in choice["prices"].items())
        compare_costs(told, costs_of(config, (), prices, choice["records"]).to_json())
    assert possible >= 3, "most of the choices can't be run"


def compare_privacy(told, summary, choice):
    sigma = summary["sigma"]
    assert sigma <= told["sigma"] <= 1.01 * sigma
    ratio = sigma / told["sigma"]
    assert told["achieved_epsilon"] <= choice["epsilon"]
    assert told["epsilon_after"] == sorted(told["epsilon_after"]) and len(told["epsilon_after"]) == (
        summary["generations"] + summary["spare_slots"]
    )
    for figure in ("replace_one_epsilon", "attacker_advantage"):
        assert 0.985 * summary[figure] <= told[figure] <= 1.003 * summary[figure]
    assert told["private_records_for_signal"] == pytest.approx(summary["private_records_for_signal"] / ratio, abs=1.1)
    assert told["voted_on"] == summary["voted_on"]
    assert (told["texts_to_write"], told["candidate_renders"]) == (
        summary["texts_to_write"], summary["candidate_renders"],
    )  # fmt: skip
    if choice["records"]:
        assert told["signal"] == pytest.approx([signal * ratio for signal in summary["signal"].values()])
    warns = [hint for hint in summary["hints"] if "votes would drown" in hint or "privacy.delta" in hint]
    # On either side of the limit the page, whose sigma is a little larger, may warn a little earlier.
    assert len(told["warnings"]) >= len(warns)


def compare_costs(told, costs):
    told = told["costs"]
    assert {work["role"]: work["items"] for work in told["roles"]} == {
        role: work["items"] for role, work in costs["roles"].items()
    }
    for work in told["roles"]:
        planned = costs["roles"][work["role"]]
        for figure in ("units", "private_items", "engine_h", "gpu_h"):
            assert work[figure] == (None if planned[figure] is None else near(planned[figure])), (work["role"], figure)
    for name, count in costs["tokens"].items():
        assert abs(told["tokens"][name] - count) < 1
    assert [(pool["name"], pool["engines"]) for pool in told["pools"]] == [
        (pool["name"], pool["engines"]) for pool in costs["pools"]
    ]
    for pool, planned in zip(told["pools"], costs["pools"], strict=True):
        assert pool["wall_h"] == near(planned["wall_h"]) and pool["held_cpu_h"] == near(planned["held_cpu_h"])
        assert pool["held_gpu_h"] == near(planned["held_gpu_h"]) and pool["dollars"] == near(planned["dollars"])
        assert pool["waits_for"] == list(planned["waits_for"]) and pool["unpriced"] == list(planned["unpriced"])
    training, planned = told["training"], costs["training"]
    assert [each["examples"] for each in training["schedules"]] == [each["examples"] for each in planned["schedules"]]
    assert training["is_bound"] is planned["is_bound"]
    for figure in ("hours", "ratios", "even_at", "release_h"):
        assert flat(training[figure]) == near(flat(planned[figure])), figure


def flat(value):
    if value is None:
        return []
    return [x for part in value for x in flat(part)] if isinstance(value, (list, tuple)) else [value]


def test_the_command_on_the_page_has_records_prices_and_what_was_chosen(make_config, page_of):
    page = page_of(make_config(runtime__engines="embedded"), records=900, prices=("cpu=0.04",))
    changed = {"epsilon": 1, "delta": 1e-7, "themes": [3], "pools": {"writer": {"replicas": 2, "most": None}}}
    chosen = "{...d.chosen, ...given, pools: {...d.chosen.pools, ...given.pools}}"
    told = computed(page, f"Planner.plan(d, {chosen})", changed)
    assert told["sets"] == [
        "--set privacy.epsilon=1", "--set privacy.delta=1e-7", "--set 'evolution.themes=[3]'",
        "--set runtime.engines.writer.replicas=2",
    ]  # fmt: skip
    assert shlex.split(told["command"]) == [
        "spti", "plan", "my.yaml", "--costs", "--private-records", "900", "--price", "cpu=0.04",
        "--set", "privacy.epsilon=1", "--set", "privacy.delta=1e-7", "--set", "evolution.themes=[3]",
        "--set", "runtime.engines.writer.replicas=2",
    ]  # fmt: skip
    assert computed(page, "Planner.plan(d, d.chosen).sets") == []


def test_more_than_the_lifetime_budget_is_pointed_out(make_config, page_of):
    page = page_of(make_config(dataset={"id": "toys", "lifetime_epsilon": 4}))
    warned = computed(page, "[4, 4.1].map(epsilon => Planner.plan(d, {...d.chosen, epsilon}).warnings.length)")
    assert warned == [0, 1]
    assert math.isclose(values_in(page)["lifetime"], 4)
