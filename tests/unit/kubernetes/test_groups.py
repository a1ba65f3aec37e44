"""Worker groups on literal topologies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import EngineConfig
from spti_ray.kubernetes.groups import pod_of, pod_wait_s, worker_groups
from spti_ray.kubernetes.render import config_on_cluster
from spti_ray.kubernetes.settings import Cluster
from spti_ray.models.factory import engines_config
from spti_ray.runtime.placement.bundles import plan, reservations
from spti_ray.runtime.placement.fit import NodeKind, fit
from tests.unit.conftest import config_with

CLUSTER = {
    "image": "r/spti:1",
    "out": "/runs/a",
    "runs": {"claim": "runs", "path": "/runs"},
    "gpus": {kind: {"node_selector": {"gpu": kind}} for kind in ("H100", "L40S")},
}
SPOT = {"spot": {"node_selector": {"market": "spot"}}}


def groups_of(engines, settings=None, **runtime):
    config = config_with(runtime__engines=engines, **runtime)
    cluster = Cluster.model_validate(CLUSTER | (settings or {}))
    return {group.name: group for group in worker_groups(config, engines_config(engines), cluster)}


def test_a_run_without_gpus_has_a_group_for_each_role_and_one_for_the_shards():
    groups = groups_of("embedded")
    assert list(groups) == ["writer", "renderer", "image-embedder", "vote"]
    assert {group.gpus for group in groups.values()} == {0}
    assert all(group.most == 1 for group in groups.values())


def test_shards_with_a_share_of_a_gpu_are_in_pods_with_one():
    settings = {"any_gpu": {"node_selector": {"gpu": "any"}}}
    vote = groups_of("embedded", settings, runtime__shards=10, runtime__shard={"num_cpus": 2, "num_gpus": 0.25})["vote"]
    assert (vote.gpus, vote.cpus, vote.engines, vote.most) == (1, 8, 4, 3)
    assert [nodes.node_selector for nodes in vote.nodes] == [{"gpu": "any"}]
    captions = {"method": "captions", "privacy__allow_not_private": True}
    assert groups_of("embedded", settings, **captions, runtime__shard={"num_gpus": 1})["vote"].gpus == 0


def test_every_group_starts_from_zero_whatever_the_run_starts_with():
    groups = groups_of({"renderer": {"num_gpus": 1, "replicas": 3, "max_replicas": 32}})
    assert {group.replicas for group in groups.values()} == {0}
    assert (groups["renderer"].most, groups["renderer"].gpus) == (32, 1)


def test_the_better_gpu_is_preferred_and_of_a_kind_the_cheaper_market():
    engines = {"renderer": {"num_gpus": 1, "max_replicas": 4, "accelerators": ["L40S", "H100"]}}
    groups = [group for name, group in groups_of(engines, SPOT).items() if name.startswith("renderer")]
    wished = sorted(groups, key=lambda group: -group.priority)
    assert [(group.accelerator, group.market) for group in wished] == [
        ("L40S", "spot"), ("L40S", "on-demand"), ("H100", "spot"), ("H100", "on-demand"),
    ]  # fmt: skip
    assert {group.most for group in wished} == {4}


def test_shards_are_never_on_spot_nodes():
    vote = groups_of("embedded", SPOT, runtime__shards=20)["vote"]
    assert vote.market == "on-demand" and vote.nodes == ()
    assert (vote.most, vote.memory_gib) == (3, 8 * 4)


def test_engines_that_share_a_gpu_share_a_pod():
    group = groups_of({"image_embedder": {"num_gpus": 0.25, "num_cpus": 2, "replicas": 6}})["image-embedder"]
    assert (group.gpus, group.cpus, group.engines, group.most) == (1, 8, 4, 2)


def test_without_autoscaling_there_are_as_many_pods_as_the_run_starts_with():
    engines = {"renderer": {"num_gpus": 1, "replicas": 2, "max_replicas": 9, "accelerators": ["L40S", "H100"]}}
    groups = groups_of(engines, SPOT | {"autoscaling": False})
    assert [name for name in groups if name.startswith("renderer")] == ["renderer-l40s"]
    assert groups["renderer-l40s"].replicas == groups["renderer-l40s"].most == 2


def test_engines_that_take_turns_share_a_pod_with_memory_for_those_that_sleep():
    engines = {"writer": {"num_gpus": 0.5, "replicas": 3}, "renderer": {"num_gpus": 0.5, "replicas": 3, "num_cpus": 4}}
    groups = groups_of(engines, runtime__take_turns=["writer", "renderer"])
    assert list(groups) == ["writer-renderer", "image-embedder", "vote"]
    group = groups["writer-renderer"]
    assert (group.gpus, group.cpus, group.memory_gib, group.most) == (1, 5, 128, 3)


@pytest.mark.parametrize("gpus", [{}, {"H100": {"node_selector": {"gpu": "h"}}}])
def test_a_kind_of_gpu_of_which_the_cluster_says_nothing_is_refused(gpus):
    engines = {"renderer": {"num_gpus": 1, "accelerators": ["H200"]}}
    with pytest.raises(ValueError, match="runtime.engines.renderer.accelerators: .* which nodes have H200"):
        groups_of(engines, {"gpus": gpus})
    # An engine without a GPU asks for no kind of it.
    assert "renderer" in groups_of({"renderer": {"accelerators": ["H200"]}}, {"gpus": gpus})


def test_every_kind_of_node_of_a_role_has_its_turn_while_a_run_waits_for_nodes():
    engines = {"renderer": {"num_gpus": 1, "accelerators": ["L40S", "H100"]}}
    groups = groups_of(engines, SPOT).values()
    given = {"node_wait_s": 3600}
    assert pod_wait_s(groups, Cluster.model_validate(CLUSTER | SPOT | given)) == 3600 // (4 + 1)
    assert pod_wait_s(groups, Cluster.model_validate(CLUSTER | SPOT | given | {"pod_wait_s": 600})) == 600
    with pytest.raises(ValueError, match="pod_wait_s: 900 s for each of 4 kinds of node"):
        pod_wait_s(groups, Cluster.model_validate(CLUSTER | SPOT | given | {"pod_wait_s": 900}))


SIZES = st.fixed_dictionaries(
    {
        "num_gpus": st.sampled_from([0, 0.25, 0.3, 0.5, 1, 2, 8]),
        "num_cpus": st.sampled_from([0, 0.1, 0.5, 1, 3, 12]),
        "replicas": st.integers(1, 9),
        "accelerators": st.sampled_from([(), ("H100",), ("L40S", "H100")]),
    }
)


@given(st.fixed_dictionaries({"renderer": SIZES, "image_embedder": SIZES}), st.integers(1, 40), st.booleans())
def test_every_actor_of_a_run_fits_on_the_pods_that_are_rendered_for_it(engines, shards, spot):
    """On no more of them than there may be, and on nobody else's."""
    config = config_with(runtime__engines=engines, runtime__shards=shards)
    cluster = Cluster.model_validate(CLUSTER | (SPOT if spot else {}))
    groups = worker_groups(config, engines_config(engines), cluster)
    pods = [
        NodeKind(
            name=group.name, cpus=group.cpus, gpus=group.gpus, accelerator=group.accelerator, labels=group.labels,
            there=0, most=group.most,
        )
        for group in groups
    ]  # fmt: skip
    bundles = reservations(plan(config_on_cluster(config, cluster, groups), engines_config(engines)))
    found = fit(bundles, pods)
    assert found.left == ()
    roles = {group.name: group.role for group in groups}
    assert all(bundle.role == roles[pod.partition("/")[0]] for bundle, pod in found.where)


@given(
    cpus=st.floats(0, 64),
    gpus=st.one_of(st.sampled_from([0, 0.1, 0.2, 0.25, 1 / 3, 0.5, 1, 2, 4, 8]), st.floats(0.01, 1)),
)
def test_a_pod_has_room_for_its_engines(cpus, gpus):
    pod_cpus, pod_gpus, engines = pod_of(EngineConfig(kind="x", num_cpus=cpus, num_gpus=gpus))
    assert engines >= 1
    assert engines * cpus <= pod_cpus + 1e-6 and engines * gpus <= pod_gpus + 1e-6
