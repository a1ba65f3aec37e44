"""What `spti measure` takes, leaves and removes in the folder of a measurement, and who else may be at work in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from spti_ray.config import Config
from spti_ray.config.loading import ConfigError
from spti_ray.driver.measurement import Measurement
from spti_ray.driver.measurement_plan import plan_of
from spti_ray.models.bundled import ModelNotFound
from spti_ray.runs.measures import MeasureDir
from spti_ray.runtime.voter import ShardFailed
from tests.unit.driver.conftest import Measured


@pytest.fixture
def asked(measured: Measured) -> Iterator[Measurement]:
    """A measurement that nobody has begun."""
    asked = Measurement(measured.folder, measured.task("folder", task="coverage", epsilon=0.5, radius=0.5))
    yield asked
    asked.folder.unlock()
    shutil.rmtree(asked.folder.path, ignore_errors=True)
    shutil.rmtree(asked.folder.internal)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_that_is_refused_for_what_it_holds_keeps_it(asked: Measurement, quiet):
    folder = asked.folder
    folder.path.mkdir(parents=True)
    (folder.path / "probe.safetensors").write_bytes(b"of a measurement whose measure.yaml was lost")
    (folder.internal / "views").mkdir()
    with pytest.raises(ConfigError, match=r"is not empty and holds no measure\.yaml"):
        asked.ask(quiet)
    assert files_in(folder.path) == {"probe.safetensors"} and (folder.internal / "views").is_dir()


def test_a_kill_while_a_refused_measurement_is_removed_leaves_what_the_next_start_takes_up(
    asked: Measurement, monkeypatch
):
    folder, removed = asked.folder, []
    folder.lock()
    folder.identify([])
    (folder.path / "probe.safetensors").write_bytes(b"made, and never charged")

    def killed_after_one(path: Path, missing_ok: bool = False) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(path)
        os.remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed_after_one)
        with pytest.raises(KeyboardInterrupt):
            folder.remove()
    folder.check_free([])
    folder.remove()
    assert not folder.path.exists()


def test_who_waits_while_a_refused_measurement_is_removed_holds_the_folder_then(asked: Measurement):
    folder = asked.folder
    folder.lock()
    with (folder.internal / "driver.lock").open("rb+") as waiting:
        folder.identify([])
        folder.remove()
        folder.unlock()
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        another = MeasureDir(asked.measured, "folder", asked.task, asked.config)
        with pytest.raises(ConfigError, match="another spti measure is working in this folder"):
            another.lock()
    assert files_in(folder.internal) == {"driver.lock"}


def lost(*_: object) -> None:
    raise ShardFailed("shard 0: its actor died again and again")


def test_a_plan_of_what_somebody_asks_right_now_does_not_call_it_lost(
    asked: Measurement, measured: Measured, quiet, spti, monkeypatch
):
    plan = lambda *more: spti("measure", measured.folder, "--task", measured.tasks / "folder.yaml", "--plan", *more)[1]  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr("spti_ray.runtime.voter.ShardVoter.answer", lost)
        with pytest.raises(ShardFailed):
            asked.ask(quiet)
    assert "LOST        " in plan() and not json.loads(plan("--json"))["at_work"]
    asked.folder.lock()
    assert "LOST" not in plan() and "at work     it is being asked right now" in plan()
    assert json.loads(plan("--json"))["at_work"]


def test_a_plan_refuses_an_embedder_that_is_not_there_until_the_answer_is(asked: Measurement, quiet, monkeypatch):
    def missing(config: Config, roles: object) -> None:
        raise ModelNotFound("runtime.engines.image_embedder.model: there is no such folder")

    with monkeypatch.context() as patch:
        patch.setattr("spti_ray.driver.measurement.check_models_here", missing)
        with pytest.raises(ModelNotFound, match=r"there is no such folder"):
            plan_of(asked)
    asked.ask(quiet)
    monkeypatch.setattr("spti_ray.driver.measurement.check_models_here", missing)
    assert plan_of(asked)["answered"]
