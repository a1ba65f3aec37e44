"""CPU work beside engines: it is counted, and it bounds the time where engines have hardware of their own."""

import pytest

from spti_ray.config import EngineConfig
from spti_ray.planning.costs.estimate import estimate
from spti_ray.planning.costs.rates import published
from spti_ray.planning.costs.report import costs_of
from tests.unit.planning.costs.test_estimate import engines, rates

LARGE = {"options": {"height": 512, "width": 512}}


def stages(found):
    return {stage.what: (stage.images, stage.cpu_s) for stage in found.cpu_stages}


def test_every_image_is_counted_once_in_each_stage_and_released_ones_at_their_level(make_config):
    found = stages(estimate(make_config(**engines(renderer=LARGE), runtime__shards=1), rates(), 10))
    assert {what: images for what, (images, _) in found.items()} == {
        "PNG of renders, level 0": 19,
        "PNG of renders, level 6": 1,
        "decoding renders": 19,
        "preparing renders": 19,
        "reading private images": 10,
        "preparing private images": 10,
    }
    quick, released = found["PNG of renders, level 0"][1] / 19, found["PNG of renders, level 6"][1]
    assert 0 < quick < released / 3


def test_an_embedder_on_a_gpu_is_no_faster_than_the_cores_beside_it(make_config):
    fast = dict.fromkeys(("writer", "renderer", "image_embedder"), 1e9)
    config = make_config(**engines(gpus=1, renderer=LARGE), runtime__address="auto")
    found = estimate(config, rates(gpus=1, **fast), 10**6)
    cpu_s = stages(found)["preparing private images"][1]
    assert found.pools[0].wall_h * 3600 >= cpu_s / 4 > 100
    assert found.pools[0].waits_for == ("image_embedder",)


@pytest.mark.parametrize(
    ("model", "accelerators", "is_least"),
    [
        ("stabilityai/sdxl-turbo", (), False),  # of one image at a time
        ("meta-llama/Llama-3.1-8B-Instruct", ("H100",), True),
        ("meta-llama/Llama-3.1-8B-Instruct", ("B200",), False),
    ],
)
def test_what_bounds_the_time_is_a_rate_of_batches_on_the_gpu_that_is_asked_for(model, accelerators, is_least):
    rate = next(rate for rate in published().rates if model in rate.models)
    assert rate.is_least(EngineConfig(kind="k", model=model, num_gpus=1, accelerators=accelerators)) is is_least


def test_a_latency_of_one_image_gives_an_estimate_and_no_bound(make_config):
    renderer = {"kind": "diffusers", "model": "stabilityai/sdxl-turbo", "num_gpus": 1, "options": {"steps": 1}}
    found = costs_of(make_config(runtime__engines={"renderer": renderer}), (), (), 1000)
    text = "\n".join(found.lines())
    assert "wall time   about " in text and "at least" not in text and "CPU         " in text
    assert "; about " in found.line()
    assert found.to_json()["cpu_stages"] and not found.to_json()["pools"][0]["is_least"]
    assert "wall time   at least" in "\n".join(costs_of(make_config(runtime__engines="embedded"), (), (), 9).lines())
