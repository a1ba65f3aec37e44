"""Hours from counts and rates: every unit is paid, nothing unknown is guessed."""

import json

import pytest

from spti_ray.planning.costs.estimate import estimate
from spti_ray.planning.costs.measured import load_rates
from spti_ray.planning.costs.rates import EngineRate, Rates, RatesFile
from spti_ray.planning.costs.report import costs_of
from spti_ray.planning.costs.storage import storage_of

KINDS = {"writer": "fake-writer", "renderer": "diffusers", "image_embedder": "fake-image-embedder"}


def engines(gpus=0, **changes):
    options = {"renderer": {"options": {"height": 8, "width": 8}}}
    each = {
        role: {"kind": kind, "model": role, "batch_size": 4, "num_gpus": gpus} | options.get(role, {})
        for role, kind in KINDS.items()
    }
    for role, change in changes.items():
        each[role] |= change
    return {"runtime__engines": each}


def rates(gpus=0, without=(), **per_s):
    return Rates(
        RatesFile(
            rates=tuple(
                EngineRate(
                    role=role,
                    models=(role,),
                    per_s=per_s.get(role, 1.0),
                    gpus=gpus,
                    width=10,
                    hardware="h",
                    measured="m",
                    source="s",
                )
                for role in KINDS
                if role not in without
            )
        ),
        RatesFile(),
    )


def hours(found):
    return {work.role: work.engine_h for work in found.roles}


def test_hours_are_those_of_whole_batches_but_a_writer_s(make_config):
    # 12 candidates, then 7 beside the 5 that survive; of the release's 6 images 5 are the survivors' renders.
    found = estimate(make_config(**engines(), runtime__shards=1), rates(), private_records=10)
    assert {work.role: (work.items, work.batches) for work in found.roles} == {
        "writer": (12 + 7, 3 + 2),
        "renderer": (12 + 7 + 1, 3 + 2 + 1),
        "image_embedder": (12 + 7, 3 + 2),
    }
    # 10 private records are three batches of 4.
    assert {role: round(each * 3600) for role, each in hours(found).items()} == {
        "writer": 19,
        "renderer": 6 * 4,
        "image_embedder": 5 * 4 + 3 * 4,
    }
    assert found.is_whole and found.unknown == ()


def test_twice_the_rate_is_half_the_hours_and_two_engines_half_the_time(make_config):
    config = make_config(**engines(), runtime__address="auto")
    one, two = (estimate(config, rates(renderer=each), 10) for each in (0.001, 0.002))
    assert hours(one)["renderer"] == 2 * hours(two)["renderer"]
    both = make_config(**engines(renderer={"replicas": 1, "max_replicas": 100}), runtime__address="auto")
    pools = estimate(both, rates(renderer=0.001), 10).pools
    assert [p.name for p in pools] == ["as configured", "fully grown"]
    # However many engines there are, each phase takes one unit's time: 3 phases of 4 images.
    assert pools[1].wall_h == pytest.approx(3 * 4 / 0.001 / 3600, rel=0.01)
    assert pools[0].wall_h > pools[1].wall_h and pools[1].waits_for == ("renderer",)


def test_engines_on_the_same_cores_work_one_after_the_other(make_config):
    alone = estimate(make_config(**engines()), rates(), 0).pools[0]
    cluster = estimate(make_config(**engines(), runtime__address="auto"), rates(), 0).pools[0]
    assert alone.wall_h > cluster.wall_h


def test_without_a_rate_or_the_number_of_records_what_depends_on_it_is_unknown(make_config):
    config = make_config(**engines())
    found = estimate(config, rates(without=("renderer",)), 10)
    assert hours(found)["renderer"] is None and [work.role for work in found.unknown] == ["renderer"]
    assert not found.is_whole and "renderer" not in found.per_second
    unsaid = estimate(config, rates())
    assert not unsaid.is_whole and unsaid.unknown == ()
    text = "\n".join(costs_of(config).lines())
    assert "UNKNOWN     the renderer's rate" in text and "--private-records" in text


def test_gpu_hours_are_those_of_the_gpus_that_an_engine_holds(make_config):
    config = make_config(**engines(gpus=0.5))
    for work in estimate(config, rates(gpus=1), 10).roles:
        assert work.gpu_h == work.engine_h * 0.5


def test_a_writer_s_rate_in_tokens_gives_texts_a_second(make_config):
    by_tokens = Rates(
        RatesFile(rates=(rates().given.rates[0].model_copy(update={"of": "tokens", "per_s": 30.0}),)), RatesFile()
    )
    found = estimate(make_config(**engines()), by_tokens)
    texts = found.roles[0].items
    assert found.per_second["writer"] == pytest.approx(30.0 * texts / found.tokens.output)
    assert found.roles[0].engine_h == pytest.approx(found.tokens.output / 30 / 3600)
    assert 0 < found.tokens.output <= found.tokens.most_output


def test_more_words_are_more_tokens_and_examples_longer_prompts(make_config):
    def tokens(**changes):
        return estimate(make_config(**changes), rates()).tokens

    base = {"domain": "toys", "examples": ["a dog"], "max_words": 6}
    assert tokens(prompts=base | {"min_words": 6}).output > tokens(prompts=base | {"min_words": 2}).output
    assert tokens(prompts=base | {"examples": ["a dog"] * 9}).prompt > tokens(prompts=base).prompt


def test_storage_is_what_the_run_s_files_hold(make_config):
    config = make_config(**engines())
    stored = {one.what: one for one in storage_of(estimate(config, rates(), private_records=10))}
    assert stored["release"].bytes == 6 * 8 * 8 * 3
    assert stored["candidates' image embeddings"].bytes == 12 * 2 * 10 * 4
    assert stored["private image embeddings"].bytes == 10 * 10 * 2
    assert stored["candidates' image embeddings"].where == "generations/"
    unsaid = {one.what: one for one in storage_of(estimate(config, rates()))}
    assert (
        unsaid["private image embeddings"].bytes is None
        and "--private-records" in unsaid["private image embeddings"].how
    )


def test_a_generation_that_asks_for_the_labels_shares_stores_a_render_of_each_label(make_config):
    def stored(**changes):
        config = make_config(evolution__labels=["cat", "dog"], **engines(), **changes)
        return {one.what: one.bytes for one in storage_of(estimate(config, rates()))}

    public, voted = stored(), stored(evolution__generations=3, evolution__label_shares="voted")
    assert voted["candidates' image embeddings"] == public["candidates' image embeddings"]
    assert voted["candidates' renders"] == public["candidates' renders"] + 2 * 8 * 8 * 3


def test_the_rates_of_a_run_are_its_own_and_its_images_give_the_bytes(make_config, tmp_path):
    config = make_config(**engines())
    (tmp_path / "internal").mkdir()
    (tmp_path / "release" / "images").mkdir(parents=True)
    (tmp_path / "release" / "images" / "0.png").write_bytes(b"x" * 50)
    stage = {"busy_s": 2.0, "units_per_s": 5.0, "output_tokens_per_s": 0.0}
    timings = {"stages": {"renderer": stage, "writer": stage | {"output_tokens_per_s": 40.0}}, "phases_s": {}}
    (tmp_path / "internal" / "timings.json").write_text(json.dumps(timings))
    (tmp_path / "run.yaml").write_text(json.dumps({"run": "r", "config": config.model_dump(mode="json")}))
    known = load_rates((tmp_path,))
    found = estimate(config, known)
    assert {work.role: work.rate.per_s for work in found.roles if work.rate} == {"writer": 40.0, "renderer": 5.0}
    assert storage_of(found)[0].bytes == 6 * 50


def test_a_pool_that_starts_from_none_is_reckoned_with_one(make_config):
    one, none = ({"replicas": replicas, "max_replicas": 10} for replicas in (1, 0))
    found = [estimate(make_config(**engines(renderer=size), runtime__address="auto"), rates()) for size in (one, none)]
    assert found[0].pools == found[1].pools
