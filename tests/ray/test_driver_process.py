"""The process of a driver on a cluster, whatever is done in it: Ray keeps nothing that is said there."""

import logging
import resource
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from spti_ray.config import RuntimeConfig
from spti_ray.errors import ResourcesNeverArrived
from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.ray.cluster import Reserved
from spti_ray.runtime.ray.driver_actor import HostedDriver, NameTaken
from tests.ray import waiting

until = partial(waiting.until, seconds=60)

CANARY = "patient-Smith-7341"


class Chatty:
    """Work that says all it knows, and fails with it."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._seen = ""

    def run(self) -> None:
        print(CANARY, flush=True)
        sys.stderr.write(CANARY)
        warnings.warn(CANARY, stacklevel=1)
        logging.getLogger("spti_ray").addHandler(logging.FileHandler(self._file))
        logging.getLogger("spti_ray").error("for our own log")
        self._seen = f"core dumps up to {resource.getrlimit(resource.RLIMIT_CORE)[0]} bytes"
        raise RuntimeError(CANARY)

    def look(self, seen: int):
        return SimpleNamespace(notes=[self._seen] if self._seen else [], end=None)


class Polling:
    """Work that takes until it is stopped."""

    def __init__(self) -> None:
        self._notes = ["begun"]

    def run(self) -> None:
        try:
            while True:
                time.sleep(0.05)
        except KeyboardInterrupt:
            self._notes.append("stopped")

    def look(self, seen: int):
        return SimpleNamespace(notes=self._notes[seen:], end=None)


def notes_of(driver, wanted):
    """All lines of a driver, until one is `wanted`."""
    seen = []
    until(lambda: seen.extend(look.notes if (look := driver.look()[1]) else []) or wanted in seen)
    return seen


def test_a_driver_that_fails_leaves_nothing_of_what_it_said_in_rays_files_and_keeps_our_log(ray_cluster, tmp_path):
    log = tmp_path / "driver.log"
    driver = HostedDriver("chatty", "a", lambda: Chatty(str(log)), RuntimeConfig())
    (said,) = until(lambda: look.notes if (look := driver.look()[1]) else None)
    assert said in ("core dumps up to 0 bytes", "core dumps up to 1 bytes")
    until(lambda: log.exists() and "for our own log" in log.read_text())
    driver.kill()
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [path for path in session.rglob("*") if path.is_file()]
    assert files and not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_a_name_is_joined_for_the_same_work_only_and_is_free_again_after_its_end(ray_cluster):
    first = HostedDriver("one", "a", Polling, RuntimeConfig())
    assert not first.joined and HostedDriver("one", "a", Polling, RuntimeConfig()).joined
    with pytest.raises(NameTaken):
        HostedDriver("one", "b", Polling, RuntimeConfig())
    first.stop()
    assert notes_of(first, "stopped") == ["begun", "stopped"]
    other = HostedDriver("one", "b", Polling, RuntimeConfig())
    assert not other.joined
    other.kill()


def test_what_a_killed_driver_had_reserved_is_freed_by_its_next_start_and_nobody_elses(ray_cluster):
    bundles = (Bundle("writer", 0, 0.1, 0),)
    reserved = [Reserved(bundles, owner=owner) for owner in ("spti-one", "spti-other", "spti-one")]

    def held():
        groups = ray.util.placement_group_table().values()
        return Counter(group["name"].split("-writer")[0] for group in groups if group["state"] != "REMOVED")

    until(lambda: held()["spti-one"] == 1)
    assert held()["spti-other"] == 1
    for one in reserved[1:]:
        one.give_back_all()


def test_a_driver_that_no_node_takes_is_told_in_a_line(ray_cluster):
    runtime = RuntimeConfig.model_validate({"placement_timeout_s": 2, "driver": {"resources": {"nowhere": 1}}})
    with pytest.raises(ResourcesNeverArrived, match="within 2 s: it wants 0 CPUs, 1 nowhere; see runtime.driver"):
        HostedDriver("unplaced", "a", Polling, runtime)
