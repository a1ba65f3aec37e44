"""Dollars, and the work of training instead."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.planning.costs.estimate import estimate
from spti_ray.planning.costs.money import dollars_of, parse_prices
from spti_ray.planning.costs.rates import Rates, RatesFile, Recipe, TrainingRate
from spti_ray.planning.costs.report import costs_of
from spti_ray.planning.costs.training import training_of
from tests.unit.planning.costs.test_estimate import engines, rates

ROOT = Path(__file__).parents[4]
STICKERS, THROUGHPUT = str(ROOT / "jobs" / "stickers.yaml"), ROOT / "jobs" / "results" / "throughput.json"


def test_prices_are_dollars_by_what_they_are_of():
    assert parse_prices(["gpu=2.5", "H100 = 3"]) == {"gpu": 2.5, "H100": 3.0}


@pytest.mark.parametrize("text", ["gpu", "gpu=", "gpu=-1", "=2", "gpu=nan", "gpu=inf", "gpu=cheap"])
def test_a_price_that_is_none_is_refused_in_one_line(text):
    with pytest.raises(ConfigError, match=r"^--price .*gpu=2\.5"):
        parse_prices([text])


def test_a_gpu_is_paid_while_it_is_held_at_the_price_of_its_kind(make_config):
    config = make_config(**engines(gpus=1, renderer={"accelerators": ["L4"]}), runtime__address="auto")
    found = estimate(config, rates(gpus=1), 10)
    pools = found.pools[0]
    held = dict(pools.held_gpu_h)
    assert held["renderer"] > held["writer"] > 0, "the renderer stays for the release"
    others = held["writer"] + held["image_embedder"]
    dollars, unpriced = dollars_of(found, pools, {"gpu": 2.0, "L4": 1.0, "cpu": 0.1})
    assert dollars["GPUs"] == pytest.approx(2 * others + held["renderer"]) and unpriced == ()
    assert dollars["CPUs"] == pytest.approx(0.1 * pools.held_cpu_h)
    assert dollars_of(found, pools, {"L4": 1.0})[1] == ("GPUs of the writer", "GPUs of the image_embedder")


def test_shards_hold_their_cpus_and_gpus_until_the_last_vote(make_config):
    without, found = (
        estimate(make_config(**engines(gpus=1), runtime__shards=4, runtime__shard=shard), rates(gpus=1), 10).pools[0]
        for shard in ({"num_cpus": 0}, {"num_cpus": 3, "num_gpus": 0.25})
    )
    assert "shard" not in without.held_gpu_h
    assert found.held_gpu_h["shard"] == pytest.approx(4 * 0.25 * without.held_gpu_h["writer"])
    assert found.held_cpu_h - without.held_cpu_h == pytest.approx(4 * 3 * without.held_gpu_h["writer"])
    asked = estimate(make_config(**engines(gpus=1), runtime__shard={"num_gpus": 1}), rates(gpus=1), 10)
    assert "GPUs of the shard" in dollars_of(asked, asked.pools[0], {})[1]
    assert "GPUs of the shard" not in dollars_of(asked, asked.pools[0], {"gpu": 1.0})[1]


def test_an_endpoint_s_tokens_and_images_have_the_prices_that_are_given(make_config):
    options = {"base_url": "https://host.example/v1", "prices": {"input": 1.0, "output": 10.0}}
    painter = {"kind": "openai-images", "options": {"base_url": "https://host.example/v1"}}
    remote = engines(writer={"kind": "openai", "options": options}, renderer=painter)
    found = estimate(make_config(**remote), rates(), 10)
    dollars, unpriced = dollars_of(found, found.pools[0], {})
    assert dollars == {"tokens": pytest.approx((found.tokens.prompt + 10 * found.tokens.output) / 1e6)}
    assert unpriced == ("calls of the renderer's endpoint",)
    images = next(work.items for work in found.roles if work.role == "renderer")
    assert dollars_of(found, found.pools[0], {"image": 0.5})[0]["images"] == images * 0.5


def trained(make_config, known=None, records=10, slower=(1.0, 1.0), **changes):
    training = TrainingRate(
        models=("renderer",), per_s=2.0, slower=slower, gpus=0, hardware="h", measured="m", source="s"
    )
    recipe = Recipe(name="ten passes", passes=10, said="so", source="there")
    known = known or rates()
    known = Rates(known.given, RatesFile(training=(training,), recipes=(recipe,)))
    return training_of(estimate(make_config(**engines(), **changes), known, records))


def test_training_takes_as_long_as_the_run_at_the_examples_that_are_told(make_config):
    first = trained(make_config, slower=(1.0, 4.0), runtime__shards=1)
    assert first.even_at is not None and first.ratios is not None and not first.is_bound
    assert first.even_at[0] == pytest.approx(first.even_at[1] / 4)
    at = trained(
        make_config,
        runtime__shards=1,
        finetune={"steps": round(first.even_at[1]), "batch_size": 1, "draws": 1},
    )
    assert at.ratios is not None and at.ratios[0] == pytest.approx((1.0, 1.0), rel=0.02)


def test_a_published_recipe_is_as_long_as_there_are_records(make_config):
    few, many = (trained(make_config, records=records).schedules for records in (10, 1000))
    assert [s.name for s in few] == ["as configured", "ten passes"]
    assert (few[1].examples, many[1].examples) == (100, 10_000) and few[0] == many[0]
    assert len(trained(make_config, records=None).schedules) == 1


def test_where_something_is_unknown_the_savings_are_a_bound_and_say_what_is_needed(make_config):
    found = trained(make_config, rates(without=("image_embedder",)))
    assert found.is_bound and found.needed == ("every rate of the run",)
    assert found.ratios is not None
    nothing = trained(make_config, rates(without=("renderer",)))
    assert nothing.ratios is None and "renderer's rate" in nothing.needed[0]
    unknown = training_of(estimate(make_config(**engines()), rates(), 10))
    assert unknown.hours is None and "how many examples a second" in unknown.needed[0]


def test_everything_is_told_in_lines_and_in_one_object(make_config):
    found = costs_of(make_config(runtime__engines="embedded"), (), ["cpu=0.05"], 1000)
    text = "\n".join(found.lines())
    assert "nothing was run" in text and "dollars     at least" in text and "training    by DP-SGD" in text
    assert all(len(line) <= 120 for line in found.lines())
    document = found.to_json()
    assert set(document) >= {"roles", "tokens", "pools", "storage", "training", "estimate"}
    assert document["pools"][0]["dollars"]["CPUs"] > 0
    assert found.line().startswith("costs       an estimate: ")


def test_the_command_says_costs_in_a_line_or_in_full_or_as_one_object():
    invoke = CliRunner().invoke
    brief = invoke(app, ["plan", STICKERS, "--private-records", "1000"])
    assert brief.exit_code == 0 and "\ncosts       an estimate: " in brief.output and "engine" in brief.output
    full = invoke(app, ["plan", STICKERS, "--costs", "--price", "cpu=0.05", "--rates", str(THROUGHPUT)])
    assert (
        full.exit_code == 0
        and "\ndollars     at least" in full.output
        and f"spti bench: {THROUGHPUT}" in " ".join(full.output.split())
    )
    document = json.loads(invoke(app, ["plan", STICKERS, "--json"]).output)["costs"]
    assert document["roles"]["writer"]["items"] == 656
    assert invoke(app, ["plan", STICKERS, "--costs", "--price", "gpu"]).exit_code == 2
    assert invoke(app, ["plan", STICKERS, "--costs", "--rates", "nowhere"]).exit_code == 2


@pytest.mark.parametrize("job", sorted((ROOT / "jobs").rglob("*.yaml")), ids=lambda path: path.name)
def test_every_job_of_the_repository_can_be_estimated(job):
    if "data" not in yaml.safe_load(job.read_text()):
        pytest.skip("no configuration of a run")
    assert costs_of(load_config(job), private_records=10_000).lines()
