"""How a local cluster is started."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from spti_ray.errors import ResourcesNeverArrived
from spti_ray.models.factory import engines_config
from spti_ray.runtime.placement.bundles import Bundle, plan
from spti_ray.runtime.ray import cluster as module


@contextmanager
def nothing(*arguments: Any) -> Iterator[str]:
    yield "the token"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How Ray was started or joined, without Ray."""
    calls: list[Any] = []
    monkeypatch.setattr(module, "own_token", nothing)
    monkeypatch.setattr(module, "local_ray", lambda *a, **named: calls.append((a, named)) or nothing())
    monkeypatch.setattr(module, "join", lambda *a, **named: calls.append((a, named)))
    monkeypatch.setattr(module.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(module.ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "_refuse_what_can_never_fit", lambda bundles: None)
    monkeypatch.setattr(module, "Reserved", Always)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return calls


def enter(config: Any) -> None:
    with module.cluster(config.runtime, plan(config, engines_config(config.runtime.engines))):
        pass


@pytest.mark.parametrize("address", [None, "local"])
def test_a_local_cluster_has_its_own_token_and_the_time_that_is_allowed(
    make_config: Any, started: list[Any], address: str | None
):
    enter(make_config(runtime__ray_start_timeout_s=77.0, runtime__address=address))
    module.probe()
    (run, run_settings), (probed, probe_settings) = started
    assert (run, probed) == ((77.0, "the token"), (120.0, "the token"))
    assert run_settings["include_dashboard"] is probe_settings["include_dashboard"] is False
    assert "object_store_memory" in run_settings and probe_settings["num_cpus"] == 1


def test_a_cluster_that_is_there_is_joined_with_the_users_own_token(
    make_config: Any, started: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", "ray://me:secret@head:10001")
    monkeypatch.setattr(module.ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 1.0})
    enter(make_config())
    told = module.probe()
    assert [call for call, _ in started] == [("ray://me:secret@head:10001",)] * 2
    assert told.startswith("joined ray://head:10001: 16 CPUs and 1 GPU (ray ")


def test_a_local_cluster_that_is_only_tried_tells_no_number_of_cpus(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
):
    """It is started with one, beside the machine's cores that doctor tells."""
    monkeypatch.setattr(module.ray, "cluster_resources", lambda: {"CPU": 1.0})
    assert module.probe() == f"a local cluster starts (ray {module.ray.__version__})"


ONE_L40S = {
    "Alive": True,
    "Resources": {"CPU": 8.0, "GPU": 1.0},
    "Labels": {"ray.io/node-id": "a", "ray.io/accelerator-type": "L40S"},
}


class Always:
    """Resources that are there."""

    def __init__(self, bundles: Any, joined: bool = False, owner: str = "") -> None:
        pass

    def wait(self, seconds: float) -> bool:
        return True

    def give_back_all(self) -> None:
        pass


class Never:
    """Resources that do not come."""

    def __init__(self, bundles: Any, joined: bool = False, owner: str = "") -> None:
        pass

    def wait(self, seconds: float) -> bool:
        return False

    def give_back_all(self) -> None:
        pass


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch):
    """A cluster of one L40S that has nothing free."""
    monkeypatch.setattr(module.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(module.ray, "nodes", lambda: [ONE_L40S])
    monkeypatch.setattr(module.ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 1.0})
    monkeypatch.setattr(module, "Reserved", Never)


def refusal(make_config: Any, renderer: dict[str, Any], **runtime: Any) -> str:
    runtime = {"placement_timeout_s": 1.0, "address": "ray://head", **runtime}
    config = make_config(**{f"runtime__{name}": value for name, value in runtime.items()})
    bundles = plan(config, engines_config({"renderer": renderer}))
    with pytest.raises(ResourcesNeverArrived) as caught, module.cluster(config.runtime, bundles):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("static", [{"autoscaling": False}, {"address": None}])
def test_what_no_node_could_hold_is_refused_at_once_where_no_nodes_join(
    make_config: Any, there: None, static: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    told = refusal(make_config, {"num_gpus": 1, "accelerators": ["H100"]}, **static)
    assert told.startswith(
        "no node could ever hold a renderer: it needs a GPU of kind H100; there is L40S; the run needs "
    )


def test_where_nodes_may_join_the_run_waits_and_then_says_what_had_no_room(make_config: Any, there: None):
    told = refusal(make_config, {"num_gpus": 1, "accelerators": ["H100"]})
    assert "did not arrive within 1 s" in told
    assert "no room for 1 of 1 renderer: each needs a GPU of kind H100; there is L40S" in told
    too_many = refusal(make_config, {"num_gpus": 1, "replicas": 3})
    assert "no room for 2 of 3 renderer: each needs one of 1 node(s) that are full" in too_many
    assert "they would do, but others use them" in refusal(make_config, {"num_gpus": 1})


class Groups:
    """Ray's placement groups: one is there if `fits` says so of its selectors. `nodes`: with what of each is free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, Any]], fits: Any) -> None:
        self.asked: list[list[str]] = []
        self.removed: list[list[str]] = []
        self._fits = fits
        monkeypatch.setattr(module, "placement_group", self._ask)
        monkeypatch.setattr(module, "remove_placement_group", lambda group: self.removed.append(group.kinds))
        all_of_it = {"Resources": {"CPU": 8.0, "GPU": 8.0}}
        monkeypatch.setattr(module.ray, "nodes", lambda: [node | all_of_it for node in nodes])
        free = {node["NodeID"]: node["Resources"] for node in nodes}
        monkeypatch.setattr(module, "available_resources_per_node", lambda: free)
        monkeypatch.setattr(module.time, "monotonic", lambda: self._now)
        self._now = 0.0

    def _ask(self, bundles: Any, strategy: str, bundle_label_selector: list[dict[str, str]], name: str) -> Any:
        kinds = [selector["ray.io/accelerator-type"] for selector in bundle_label_selector]
        self.asked.append(kinds)
        return SimpleNamespace(kinds=kinds, wait=lambda seconds: self._wait(kinds, seconds))

    def _wait(self, kinds: list[str], seconds: float) -> bool:
        if not self._fits(kinds):
            self._now += seconds
        return self._fits(kinds)


RENDERERS = tuple(Bundle("renderer", i, 1, 1, ("H100", "L40S")) for i in range(2))


def node_of(kind: str, gpus: float) -> dict[str, Any]:
    return ONE_L40S | {
        "NodeID": kind,
        "Labels": {"ray.io/accelerator-type": kind},
        "Resources": {"CPU": 8.0, "GPU": gpus},
    }


def test_the_order_of_kinds_of_gpu_holds_for_what_a_run_reserves(monkeypatch: pytest.MonkeyPatch):
    groups = Groups(monkeypatch, [node_of("L40S", 4.0), node_of("H100", 1.0)], lambda kinds: True)
    reserved = module.Reserved(RENDERERS)
    assert reserved.wait(60) and groups.asked == [["in(H100)", "in(L40S)"]] and not groups.removed


def test_what_others_have_taken_meanwhile_is_asked_for_in_any_kind(monkeypatch: pytest.MonkeyPatch):
    groups = Groups(monkeypatch, [node_of("L40S", 4.0), node_of("H100", 1.0)], lambda kinds: "in(H100)" not in kinds)
    reserved = module.Reserved(RENDERERS)
    assert reserved.wait(60)
    assert groups.asked == [["in(H100)", "in(L40S)"], ["in(H100,L40S)"] * 2]
    assert groups.removed == [["in(H100)", "in(L40S)"]], "it would take what comes free"


def test_kinds_of_which_nothing_is_free_are_the_autoscalers_choice(monkeypatch: pytest.MonkeyPatch):
    groups = Groups(monkeypatch, [node_of("H100", 0.0)], lambda kinds: False)
    assert not module.Reserved(RENDERERS).wait(0.1)
    assert groups.asked == [["in(H100,L40S)"] * 2] and not groups.removed
