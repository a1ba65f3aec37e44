"""How a local cluster is started."""

import os
from typing import Any

import pytest

from spti_ray.actors import cluster as module
from spti_ray.actors.cluster import ResourcesNeverArrived
from spti_ray.actors.placement import plan
from spti_ray.models.factory import engines_config


def test_a_local_cluster_is_nobody_elses_and_its_files_are_the_owners_only(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
):
    asked: dict[str, Any] = {}

    class Stop(RuntimeError):
        pass

    def init(**settings: Any) -> None:
        umask = os.umask(0)
        os.umask(umask)
        asked.update(settings, umask=umask)
        raise Stop

    monkeypatch.setattr(module.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(module.ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = make_config()
    before = os.umask(0o022)
    try:
        with pytest.raises(Stop), module.cluster(config.runtime, plan(config, engines_config(config.runtime.engines))):
            pass
        assert (asked["address"], asked["umask"]) == ("local", 0o077)
        assert os.umask(0o022) == 0o022, "and the run's own files are as the user wants them"
    finally:
        os.umask(before)


ONE_L40S = {
    "Alive": True,
    "Resources": {"CPU": 8.0, "GPU": 1.0},
    "Labels": {"ray.io/node-id": "a", "ray.io/accelerator-type": "L40S"},
}


class Never:
    """Resources that do not come."""

    def __init__(self, bundles: Any) -> None:
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
