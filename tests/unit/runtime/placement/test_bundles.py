from typing import Any

import pytest

from spti_ray.config import Config, EngineConfig, EnginesConfig
from spti_ray.config.method_traits import roles_needed
from spti_ray.models.factory import EMBEDDED, engines_config
from spti_ray.runtime.placement.bundles import Bundle, bundle_of, describe, local_cpus, plan


def config(voting: str = "image", shards: int = 2, **runtime: Any) -> Config:
    return Config.model_validate(
        {
            "data": {"path": "images"},
            "dataset": {"id": "toys"},
            "privacy": {"epsilon": 1.0, "delta": 1e-5},
            "evolution": {"generations": 1, "candidates": 4, "voting": voting},
            "prompts": {"domain": "toys"},
            "release": {"images": 4},
            "runtime": {"shards": shards, **runtime},
        }
    )


CLUSTER = EnginesConfig(
    writer=EngineConfig(kind="vllm", replicas=2, num_cpus=4, num_gpus=2),
    renderer=EngineConfig(kind="diffusers", replicas=3, num_cpus=2, num_gpus=1),
    captioner=EngineConfig(kind="blip", num_cpus=1, num_gpus=0.5),
    image_embedder=EngineConfig(kind="clip-vision", num_cpus=1, num_gpus=0.25),
    text_embedder=EngineConfig(kind="sentence", num_cpus=0.5),
)


@pytest.mark.parametrize(
    ("voting", "roles"),
    [
        ("image", ("writer", "renderer", "image_embedder")),
        ("caption", ("writer", "renderer", "captioner", "text_embedder")),
        ("joint", ("writer", "renderer", "image_embedder", "captioner", "text_embedder")),
    ],
)
def test_only_the_engines_that_the_voting_needs_are_started_slowest_first(voting, roles):
    assert roles_needed(config(voting)) == roles


def test_images_that_evolve_need_no_writer():
    assert roles_needed(config().model_copy(update={"method": "pe-image"})) == ("renderer", "image_embedder")


def test_every_replica_and_every_shard_has_a_bundle():
    assert plan(config("image", shards=2), CLUSTER) == (
        Bundle("writer", 0, 4, 2),
        Bundle("writer", 1, 4, 2),
        Bundle("renderer", 0, 2, 1),
        Bundle("renderer", 1, 2, 1),
        Bundle("renderer", 2, 2, 1),
        Bundle("image_embedder", 0, 1, 0.25),
        Bundle("shard", 0, 0.1, 0.0),
        Bundle("shard", 1, 0.1, 0.0),
    )


def test_a_shard_has_its_share_of_a_gpu_where_it_votes():
    asked = {"num_cpus": 2, "num_gpus": 0.25}
    bundles = plan(config("image", shards=3, shard=asked), CLUSTER)
    assert [bundle for bundle in bundles if bundle.role == "shard"] == [Bundle("shard", i, 2, 0.25) for i in range(3)]
    assert describe(bundles[-3:]) == "3 shard: 6 CPUs and 0.75 GPUs"
    captions = config("image", shards=1, shard=asked).model_copy(update={"method": "captions"})
    assert plan(captions, CLUSTER)[-1] == Bundle("shard", 0, 2, 0.0)


def test_caption_voting_has_the_captioner_and_no_image_embedder():
    roles = [bundle.role for bundle in plan(config("caption", shards=1), CLUSTER)]
    assert roles == ["writer", "writer", "renderer", "renderer", "renderer", "captioner", "text_embedder", "shard"]


def test_bundles_are_all_different_so_that_each_actor_finds_its_own():
    bundles = plan(config("joint", shards=7), CLUSTER)
    assert len(set(bundles)) == len(bundles) == 2 + 3 + 1 + 1 + 1 + 7


def test_a_bundle_names_only_what_it_asks_for():
    assert Bundle("renderer", 0, 2, 1).resources() == {"CPU": 2, "GPU": 1}
    assert Bundle("shard", 0, 0.1, 0.0).resources() == {"CPU": 0.1}
    assert Bundle("renderer", 0, 0, 0.5).resources() == {"GPU": 0.5}


def test_a_bundle_that_asks_for_nothing_is_still_one_that_ray_accepts():
    assert Bundle("writer", 0, 0, 0).resources() == {"CPU": 0.01}


def test_any_of_the_kinds_of_gpu_will_do():
    engines = engines_config({"renderer": {"num_gpus": 1, "accelerators": ["H100", "L40S", "A10G"]}})
    bundle = bundle_of("renderer", 3, config("image"), engines)
    assert bundle.any_node() == {"ray.io/accelerator-type": "in(H100,L40S,A10G)"}
    assert Bundle("renderer", 0, 1, 1).any_node() == {}


def test_a_role_asks_for_the_labels_of_its_nodes_beside_the_kind_of_gpu():
    labelled = config("image", node_labels={"renderer": {"team": "a", "zone": "b"}, "shard": {"disk": "none"}})
    engines = engines_config({"renderer": {"num_gpus": 1, "accelerators": ["H100", "L40S"]}})
    bundles = {bundle.role: bundle for bundle in plan(labelled, engines)}
    assert bundles["renderer"].any_node() == {
        "team": "a", "zone": "b", "ray.io/accelerator-type": "in(H100,L40S)",
    }  # fmt: skip
    assert bundles["shard"].any_node() == {"disk": "none"}
    assert bundles["writer"].any_node() == {}


def test_the_embedded_engines_and_two_shards_fit_on_two_cores():
    for voting in ("image", "caption", "joint"):
        bundles = plan(config(voting), EMBEDDED)
        assert sum(bundle.num_cpus for bundle in bundles) <= 2
        assert all(bundle.num_gpus == 0 for bundle in bundles)
        assert local_cpus(bundles, 2) == 3 if voting == "joint" else local_cpus(bundles, 2) == 2


def test_a_local_cluster_offers_the_machines_cores_or_what_the_actors_need():
    bundles = plan(config("image", shards=3), CLUSTER)  # 8 + 6 + 1 + 0.3 CPUs
    assert local_cpus(bundles, 4) == 16
    assert local_cpus(bundles, 64) == 64


def test_the_plan_is_described_in_one_line():
    text = describe(plan(config("joint", shards=3), CLUSTER))
    assert text == (
        "2 writer, 3 renderer, 1 image_embedder, 1 captioner, 1 text_embedder, 3 shard: 16.8 CPUs and 7.75 GPUs"
    )
    assert describe((Bundle("writer", 0, 1, 0),)) == "1 writer: 1 CPUs"
