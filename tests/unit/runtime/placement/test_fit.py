"""Where actors run: a CPU box, one GPU, eight GPUs, L40S and H100 mixed, nodes from zero to N."""

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import EnginesConfig
from spti_ray.models.engine_checks import check_gpu_time_sharing
from spti_ray.models.factory import EMBEDDED, engines_config
from spti_ray.runtime.placement.bundles import Bundle, plan, reservations
from spti_ray.runtime.placement.fit import NodeKind, best_free_kinds, fit, fit_lines, kinds_of, why_never
from tests.unit.conftest import config_with

CPU_BOX = (NodeKind(name="box", cpus=2),)
ONE_GPU = (NodeKind(name="box", cpus=16, gpus=1),)
EIGHT_GPUS = (NodeKind(name="dgx", cpus=96, gpus=8, accelerator="H100"),)
MIXED = (
    NodeKind(name="l40s", cpus=48, gpus=8, accelerator="L40S", there=2),
    NodeKind(name="h100", cpus=96, gpus=8, accelerator="H100", there=2),
)
FROM_ZERO = (
    NodeKind(name="head", cpus=0),
    NodeKind(name="cpu", cpus=8, there=0, most=50),
    NodeKind(name="l40s", cpus=16, gpus=1, accelerator="L40S", there=0, most=100),
    NodeKind(name="h100", cpus=96, gpus=8, accelerator="H100", there=0, most=10),
)


def asked(engines: EnginesConfig, voting: str = "image", shards: int = 2, **runtime) -> tuple[Bundle, ...]:
    more = {f"runtime__{name}": value for name, value in runtime.items()}
    config = config_with(evolution__voting=voting, runtime__shards=shards, **more)
    check_gpu_time_sharing(config.runtime, engines)
    return reservations(plan(config, engines))


def llm(tensor_parallel: int, **more):
    options = {"tensor_parallel_size": tensor_parallel}
    return {"model": "meta-llama/Llama-3.1-70B", "num_gpus": tensor_parallel, "num_cpus": 4, "options": options} | more


def on(found, role: str) -> list[str]:
    return [node for bundle, node in found.where if bundle.role == role]


@pytest.mark.parametrize("voting", ["image", "caption"])
def test_the_embedded_engines_fit_on_a_box_with_two_cores(voting):
    found = fit(asked(EMBEDDED, voting), CPU_BOX)
    assert not found.left and {node for _, node in found.where} == {"box/0"}


def test_on_one_gpu_a_writer_and_a_renderer_of_half_each_and_no_third():
    halves = engines_config({"writer": {"num_gpus": 0.5}, "renderer": {"num_gpus": 0.5}})
    assert not fit(asked(halves), ONE_GPU).left
    with_a_third = engines_config({role: {"num_gpus": 0.5} for role in ("writer", "renderer", "image_embedder")})
    found = fit(asked(with_a_third), ONE_GPU)
    assert [bundle.role for bundle, _ in found.left] == ["image_embedder"] and why_never(
        found.left[0][0], ONE_GPU
    ) == ""


def test_roles_that_take_turns_are_one_bundle_on_one_gpu():
    engines = engines_config({"writer": {"num_gpus": 0.4}, "renderer": {"num_gpus": 0.4, "num_cpus": 3}})
    bundles = asked(engines, take_turns=["writer", "renderer"])
    (shared,) = [bundle for bundle in bundles if bundle.num_gpus]
    assert (shared.role, shared.num_gpus, shared.num_cpus) == ("writer+renderer", 0.8, 3.5)
    assert not fit(bundles, ONE_GPU).left
    # Apart they would do with two devices of which half is free; together they need one.
    assert len([bundle for bundle in asked(engines) if bundle.num_gpus]) == 2


def test_eight_gpus_hold_two_tensor_parallel_writers_three_renderers_and_four_embedders_on_the_last():
    engines = engines_config(
        {
            "writer": llm(2, replicas=2),
            "renderer": {"num_gpus": 1, "replicas": 3},
            "image_embedder": {"num_gpus": 0.25, "replicas": 4},
        }
    )
    assert not fit(asked(engines), EIGHT_GPUS).left
    one_more = engines_config({"writer": llm(8), "renderer": {"num_gpus": 0.1}})
    assert [bundle.role for bundle, _ in fit(asked(one_more), EIGHT_GPUS).left] == ["renderer"]


def test_on_mixed_nodes_each_gets_the_kind_that_it_wishes_and_the_next_one_when_that_is_full():
    engines = engines_config(
        {
            "writer": llm(8, accelerators=["H100"]),
            "renderer": {"num_gpus": 1, "replicas": 20, "num_cpus": 2, "accelerators": ["L40S", "H100"]},
            "image_embedder": {"num_gpus": 0.5, "replicas": 2, "accelerators": ["L40S", "H100"]},
        }
    )
    found = fit(asked(engines), MIXED)
    assert not found.left and on(found, "writer")[0].startswith("h100")
    kinds = [node.partition("/")[0] for node in on(found, "renderer")]
    assert kinds == ["l40s"] * 16 + ["h100"] * 4
    assert len(set(on(found, "image_embedder"))) == 1, "the embedders share the one GPU"


def test_from_zero_the_nodes_to_be_added_are_named_and_no_gpu_node_is_added_for_shards():
    engines = engines_config(
        {
            "writer": llm(4, accelerators=["H100"], replicas=3),
            "renderer": {"num_gpus": 1, "replicas": 5, "num_cpus": 8, "accelerators": ["L40S"]},
        }
    )
    found = fit(asked(engines, shards=200), FROM_ZERO)
    assert not found.left
    assert found.add == {"h100": 2, "l40s": 5}, "the shards take what cores are left there"
    assert fit_lines(asked(engines, shards=200), found)[1] == "to be added: 2 h100, 5 l40s"
    assert fit(asked(EMBEDDED, shards=200), FROM_ZERO).add == {"cpu": 3}


def test_no_more_nodes_are_added_than_there_may_be():
    engines = engines_config({"renderer": {"num_gpus": 1, "replicas": 150, "accelerators": ["L40S"]}})
    found = fit(asked(engines), FROM_ZERO)
    assert found.add["l40s"] == 100 and len(found.left) == 50
    assert fit_lines(asked(engines), found)[-1] == (
        "no room for 50 of 150 renderer: each needs one of 100 node(s) that are full, and no more can be added"
    )


@pytest.mark.parametrize(
    ("bundle", "kinds", "reason"),
    [
        (Bundle("writer", 0, 4, 16), EIGHT_GPUS, "needs 16 GPU(s) on one node; the largest has 8"),
        (Bundle("writer", 0, 4, 16), FROM_ZERO, "needs 16 GPU(s) on one node; the largest has 8"),
        (Bundle("writer", 0, 4, 1, ("H100", "H200")), MIXED[:1], "needs a GPU of kind H100 or H200; there is L40S"),
        (Bundle("writer", 0, 4, 1, ("H100",)), CPU_BOX, "needs a GPU of kind H100; there is none"),
        (Bundle("writer", 0, 64, 2), MIXED[:1], "needs 64 CPUs beside 2 GPU(s) on one node; the largest has 48"),
        (Bundle("shard", 0, 64, 0), CPU_BOX, "needs 64 CPUs on one node; the largest has 2"),
        (
            Bundle("shard", 0, 1, 0, (), (("zone", "a"),)),
            CPU_BOX,
            "needs a node with the label(s) zone=a; none is there",
        ),
        (
            Bundle("renderer", 0, 1, 1, ("B200",), (("zone", "a"),)),
            CPU_BOX,
            "needs a node with the label(s) zone=a and a GPU of kind B200; none is there",
        ),
        (Bundle("shard", 0, 1, 0), (), "there are no nodes"),
        (Bundle("shard", 0, 1, 0), (NodeKind(name="x", cpus=8, there=0),), "there are no nodes"),
    ],
)
def test_what_can_never_fit_is_told_in_one_line(bundle, kinds, reason):
    assert why_never(bundle, kinds) == reason
    assert [why for _, why in fit([bundle], kinds).left] == [reason]


def test_a_share_of_a_gpu_never_straddles_two():
    two = (NodeKind(name="box", cpus=8, gpus=2),)
    found = fit([Bundle(f"role{i}", 0, 1, 0.6) for i in range(3)], two)
    ((_, reason),) = found.left
    assert reason == "needs 0.6 of one GPU; what is free is spread, at most 0.4 of any"
    whole = fit([Bundle("a", 0, 1, 0.5), Bundle("b", 0, 1, 2)], two)
    assert [b.role for b, _ in whole.left] == ["a"], "the larger one goes first"


def test_a_tensor_parallel_writer_has_as_many_gpus_as_workers():
    with pytest.raises(ValueError, match=r"writer.num_gpus: is 1, but tensor_parallel_size.* asks for 4 GPU\(s\) of"):
        engines_config({"writer": llm(4, num_gpus=1)})
    with pytest.raises(ValueError, match="is 2, but tensor_parallel_size.* asks for 1"):
        engines_config({"writer": {"num_gpus": 2}})
    with pytest.raises(ValueError, match=r"num_gpus: .*1.5 GPUs would straddle devices"):
        engines_config({"renderer": {"num_gpus": 1.5}})
    pipelined = {"options": {"tensor_parallel_size": 2, "extra": {"pipeline_parallel_size": 2}}}
    assert engines_config({"writer": llm(4) | pipelined}).writer.num_gpus == 4


def test_the_nodes_of_a_cluster_are_sorted_into_kinds():
    def node(alive=True, name="n", **labels):
        return {"Alive": alive, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 1e9}, "Labels": labels | {
            "ray.io/node-id": name}}  # fmt: skip

    h100 = {"ray.io/accelerator-type": "H100"}
    plain = {"Alive": True, "Resources": {"memory": 1e9}, "Labels": None}
    kinds = kinds_of([node(**h100, name="a"), node(alive=False), node(**h100, name="b"), node(zone="a"), plain])
    assert [(kind.name, kind.cpus, kind.gpus, kind.accelerator, kind.there) for kind in kinds] == [
        ("CPU node", 0, 0, "", 1), ("H100", 8, 2, "H100", 2), ("2-GPU node", 8, 2, "", 1),
    ]  # fmt: skip


SHARES = st.sampled_from([0, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.6, 0.75, 1, 2, 4, 8])
KINDS = st.sampled_from([(), ("H100",), ("L40S", "H100")])
BUNDLES = st.lists(
    st.tuples(st.sampled_from([0, 0.1, 0.5, 1, 2, 3.7]), SHARES, KINDS, st.sampled_from([(), (("zone", "a"),)])),
    max_size=40,
).map(lambda amounts: [Bundle("a", i, *amount) for i, amount in enumerate(amounts)])
TOPOLOGIES = st.lists(
    st.builds(
        lambda cpus, gpus, accelerator, zone, there, more: {
            "cpus": cpus, "gpus": gpus, "accelerator": accelerator if gpus else "", "there": there,
            "labels": {"zone": zone}, "most": there + more,
        },
        st.sampled_from([0, 1, 4, 7.3, 32]), st.sampled_from([0, 1, 2, 8]), st.sampled_from(["", "H100", "L40S"]),
        st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 3),
    ),
    max_size=4,
).map(lambda kinds: tuple(NodeKind(name=f"k{i}", **kind) for i, kind in enumerate(kinds)))  # fmt: skip


def packed(shares: list[float], devices: int) -> bool:
    """Whether shares of GPUs fit on so many devices, each on one: all ways are tried."""

    def place(left: list[int], free: tuple[int, ...]) -> bool:
        if not left:
            return True
        return any(
            place(left[1:], tuple(sorted((*free[:i], free[i] - left[0], *free[i + 1 :]))))
            for i in range(len(free))
            if free[i] >= left[0] and free[i] not in free[:i]
        )

    return place(sorted((round(share * 10_000) for share in shares), reverse=True), (10_000,) * devices)


@given(BUNDLES, TOPOLOGIES)
def test_no_node_is_overcommitted_no_bundle_split_and_none_lost(bundles, kinds):
    found = fit(bundles, kinds)
    assert sorted([b.index for b, _ in found.where] + [b.index for b, _ in found.left]) == list(range(len(bundles)))
    by_name = {kind.name: kind for kind in kinds}
    on_node = defaultdict(list)
    for bundle, node in found.where:
        on_node[node].append(bundle)
    for node, there in on_node.items():
        kind = by_name[node.partition("/")[0]]
        assert sum(round(bundle.num_cpus * 10_000) for bundle in there) <= kind.cpus * 10_000
        whole = sum(int(bundle.num_gpus) for bundle in there if bundle.num_gpus >= 1)
        shares = [bundle.num_gpus for bundle in there if 0 < bundle.num_gpus < 1]
        assert whole <= kind.gpus and packed(shares, int(kind.gpus - whole))
        for bundle in there:
            assert dict(bundle.node_labels).items() <= kind.labels.items()
            assert not bundle.accelerators or kind.accelerator in bundle.accelerators
    for kind in kinds:
        used = {node for node in on_node if node.partition("/")[0] == kind.name}
        assert all(int(node.partition("/")[2]) < kind.there + found.add.get(kind.name, 0) for node in used)
        assert kind.there + found.add.get(kind.name, 0) <= kind.most


@given(BUNDLES, TOPOLOGIES)
def test_a_fit_is_deterministic_and_says_never_only_of_what_fits_on_no_empty_node(bundles, kinds):
    found = fit(bundles, kinds)
    assert found == fit(list(bundles), kinds)
    for bundle, reason in found.left:
        assert reason and "\n" not in reason
        alone = fit([bundle], kinds)
        assert bool(alone.left) == bool(why_never(bundle, kinds))
    assert len(fit_lines(bundles, found)) >= 1


def test_a_hundred_thousand_shards_are_placed_in_no_time():
    """One look at the nodes for each node that is filled, not for each shard."""
    shards = [Bundle("shard", i, 0.1, 0.0) for i in range(100_000)]
    found = fit(shards, (NodeKind(name="cpu", cpus=100, there=10, most=100),))
    assert found.add == {"cpu": 90} and not found.left


def node(name: str, kind: str, cpus: float, gpus: float) -> dict:
    """As `ray.nodes()` tells it, with what is free."""
    labels = {"ray.io/node-id": name} | ({"ray.io/accelerator-type": kind} if kind else {})
    return {"NodeID": name, "Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}, "Labels": labels}


def kinds_wished(engine: dict, nodes: list[dict], **others) -> list[tuple[str, ...]]:
    """The kinds of GPU that the renderers ask for."""
    bundles = asked(engines_config({"renderer": {"num_gpus": 1, "num_cpus": 1, **engine}, **others}))
    found = best_free_kinds(bundles, nodes)
    assert [replace(bundle, accelerators=()) for bundle in found] == [replace(b, accelerators=()) for b in bundles]
    assert all(not bundle.accelerators for bundle in found if bundle.role == "shard")
    return [bundle.accelerators for bundle in found if bundle.role == "renderer"]


@pytest.mark.parametrize("order", [("H100", "L40S"), ("L40S", "H100")])
def test_of_the_kinds_of_gpu_that_are_free_a_bundle_asks_for_the_best(order):
    nodes = [node("a", "L40S", 48, 8), node("b", "H100", 96, 8), node("c", "", 64, 0)]
    assert kinds_wished({"replicas": 2, "accelerators": order}, nodes) == [order[:1]] * 2
    assert kinds_wished({"replicas": 2, "accelerators": (*order, "T4")}, nodes) == [order[:1]] * 2


def test_what_others_use_is_not_free_and_what_one_bundle_takes_is_gone_for_the_next():
    wish = {"accelerators": ["H100", "L40S"]}
    assert kinds_wished(wish, [node("a", "L40S", 48, 8), node("b", "H100", 96, 0)]) == [("L40S",)]
    assert kinds_wished(wish, [node("a", "L40S", 48, 8), node("b", "H100", 0.5, 8)]) == [("L40S",)]
    two = [node("a", "L40S", 48, 2), node("b", "H100", 96, 1)]
    assert sorted(kinds_wished(wish | {"replicas": 4}, two)) == [("H100",), ("H100", "L40S"), ("L40S",), ("L40S",)]
    writer = {"num_gpus": 1, "num_cpus": 1, "accelerators": ["H100"]}
    assert kinds_wished(wish, two, writer=writer) == [("L40S",)], "the writer has the only one that will do for it"


def test_where_nothing_is_free_a_bundle_asks_for_any_of_its_kinds():
    wish = {"accelerators": ["H100", "L40S"]}
    assert kinds_wished(wish, []) == kinds_wished(wish, [node("a", "T4", 48, 8)]) == [("H100", "L40S")]
    assert kinds_wished({"accelerators": []}, [node("a", "T4", 48, 8)]) == [()]
