"""How a local cluster is started."""

import os
from typing import Any

import pytest

from spti_ray.actors import cluster as module
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
