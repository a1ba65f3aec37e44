"""Private content stays in the actors: whatever is raised there, nobody learns more of it than a type's name.

Looked at are the exception that reaches the caller, the control store (what `ray list` shows), and all of Ray's logs,
with the actors' own at DEBUG. See tests/taint for the engines and the faults.
"""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import RayActorError, RayTaskError

from spti_ray.config import Config, EngineConfig, Role
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES
from spti_ray.runtime.hosting.failures import PrivateCallFailed
from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.ray.launch import actor_class, actor_name
from spti_ray.runtime.ray.shard_actor import RayVoter, ShardActor
from spti_ray.runtime.voter import ShardFailed
from spti_ray.types import Candidate, Candidates, ScoredCandidates
from spti_ray.votes import Query
from tests.taint.cluster import PYTHONPATH, shown_by
from tests.taint.data import LISTED, plant_folder
from tests.taint.faults import ERRORS, plant_in
from tests.taint.scan import CORE, find_in_bytes, find_in_files

CLASSES = {"image_embedder": "ImageEmbedder", "captioner": "Captioner", "text_embedder": "TextEmbedder"}
RAISED = sorted({*ERRORS, "chained"} - {"EngineDead"})
TYPES = {"chained": "RuntimeError", "group": "ExceptionGroup"}

pytestmark = pytest.mark.usefixtures("ray_cluster")

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def options(ray_cluster: None, home: Path) -> dict[str, Any]:
    """Of an actor that logs at DEBUG, and in which faults can be planted."""
    variables = {
        "TAINT_HOME": str(home),
        "PYTHONPATH": PYTHONPATH,
        "RAY_BACKEND_LOG_LEVEL": "debug",
    }
    return {"num_cpus": 0.1, "max_restarts": -1, "max_task_retries": 0, "runtime_env": {"env_vars": variables}}


@pytest.fixture(scope="module")
def engines(options: dict[str, Any], home: Path) -> dict[Role, Any]:
    """An actor of each role that shards call."""
    started: dict[Role, Any] = {}
    for role in PRIVATE_ROLES:
        name = actor_name("boundary", Bundle(role, 0, 0.1, 0))
        started[role] = actor_class(role).options(**options, name=name).remote(role, _settings(role, home))
    return started


def _settings(role: Role, home: Path, **more: Any) -> EngineConfig:
    options = {"notes": str(home), "chatty": True, **more}
    return EngineConfig(kind=f"tests.taint.engines:{CLASSES[role]}", model="SIMULATED", batch_size=4, options=options)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    plant_folder(tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture
def start_shard(options: dict[str, Any], engines: dict[Role, Any], images: Path, tmp_path: Path) -> Start:
    def start(batch_size: int = 4, serving: dict[str, list[str]] | None = None) -> Any:
        names = {role: [actor_name("boundary", Bundle(role, 0, 0.1, 0))] for role in engines}
        return ShardActor.options(**options).remote(
            _config(images), 0, names | (serving or {}), batch_size, str(tmp_path / "views"), "key"
        )

    return start


def _config(folder: Path) -> Config:
    return Config.model_validate(
        {
            "data": {"path": str(folder)},
            "dataset": {"id": "toys"},
            "privacy": {"epsilon": 1.0, "delta": 1e-5},
            "evolution": {"generations": 1, "candidates": 3, "voting": "joint", "labels": [{"name": LISTED}]},
            "prompts": {"domain": "toys"},
            "release": {"images": 1},
            "runtime": {"shards": 1, "engines": "fake"},
        }
    )


def _scored() -> ScoredCandidates:
    candidates = Candidates(tuple(Candidate(f"g00-{i}", f"text {i}", LISTED, 0) for i in range(3)))
    rows = {"image": np.eye(3, 64, dtype=np.float32), "text": np.eye(3, 128, dtype=np.float32)}
    return ScoredCandidates(candidates, rows, {"image": 0.5, "text": 0.5})


QUERY = Query("run-1", 0, _scored().sha256())


@pytest.fixture(autouse=True)
def _nothing_is_shown(ray_cluster: None) -> Iterator[None]:
    """After each test: no canary in Ray's logs or control store."""
    yield
    time.sleep(0.5)  # Task events are on their way.
    found = find_in_files([Path(ray._private.worker.global_worker.node.get_session_dir_path())])
    for name, text in shown_by(ray.get_runtime_context().gcs_address).items():
        found += [f"ray list {name}: {how}" for how in find_in_bytes(text.encode())]
    assert found == []


def _private_items(role: Role) -> list[Any]:
    if role == "text_embedder":
        return [f"a photo of {CORE}caption", "a blank"]
    image = np.zeros((4, 40, 3), dtype=np.uint8)
    image.reshape(-1)[: len(CORE)] = np.frombuffer(CORE.encode(), dtype=np.uint8)
    return [image, np.zeros_like(image)]


def _wait_for(actor: Any) -> None:
    """Until a restarted actor is up: calls fail while Ray starts its process."""
    for _ in range(600):
        try:
            ray.get(actor.ready.remote())
            return
        except RayActorError:
            time.sleep(0.2)
    raise TimeoutError


def _clean(error: BaseException) -> str:
    """The error's text, after a look at all that hangs on it."""
    seen = [error, getattr(error, "cause", None), error.__cause__, error.__context__]
    for one in [one for one in seen if one is not None]:
        shown = "".join(traceback.format_exception(one)) + repr(one) + repr(one.args) + repr(vars(one))
        assert find_in_bytes(shown.encode()) == [] and find_in_bytes(pickle.dumps(one.args)) == []
        assert not hasattr(one, "__notes__")
    return str(error)


ONE_ROLE = [PRIVATE_ROLES[0], *(pytest.param(role, marks=pytest.mark.slow) for role in PRIVATE_ROLES[1:])]
"""One of them; the others too in `make test-slow`."""


@pytest.mark.parametrize("role", ONE_ROLE)
def test_a_private_call_tells_only_the_type_of_an_engines_error(engines, home, role):
    for kind in RAISED:
        plant_in(home, {role: (kind, 1)})
        with pytest.raises(RayTaskError) as caught:
            ray.get(engines[role].run_private.remote(_private_items(role)))
        name = TYPES.get(kind, kind)
        assert f"the {role} failed on private input ({name})" in _clean(caught.value)
        assert isinstance(caught.value.cause, PrivateCallFailed)
    # The same actor goes on, in the same process.
    results, seconds = ray.get(engines[role].run_private.remote(_private_items(role)))
    assert len(results) == 2 and seconds >= 0
    assert CORE in (home / f"private-{role}.txt").read_text()


@pytest.mark.parametrize("role", ONE_ROLE)
def test_a_dead_engine_takes_its_actor_along_and_a_new_one_comes(engines, home, role):
    plant_in(home, {role: ("EngineDead", 1)})
    with pytest.raises(RayActorError) as caught:
        ray.get(engines[role].run_private.remote(_private_items(role)))
    _clean(caught.value)
    _wait_for(engines[role])
    assert len(ray.get(engines[role].run_private.remote(_private_items(role)))[0]) == 2


def test_a_public_call_keeps_the_message_of_its_error(engines):
    """This also shows that the control store is where private text would turn up."""
    with pytest.raises(RayTaskError, match="'float' object is not iterable"):
        ray.get(engines["text_embedder"].run.remote(5.25))
    time.sleep(0.5)
    assert "object is not iterable" in shown_by(ray.get_runtime_context().gcs_address)["tasks"]


def test_an_engine_may_not_return_what_ray_would_quote(options, home):
    role: Role = "text_embedder"
    strange = actor_class(role).options(**options).remote(role, _settings(role, home, strange=True))
    with pytest.raises(RayTaskError, match=r"failed on private input \(TypeError\)"):
        ray.get(strange.run_private.remote(_private_items(role)))


IN_PREPARE = (
    "private.shard.load_shard",
    "private.record.read",
    "private.record.decode",
    "private.embedding.quantise",
    "private.view_rows._with_vectors",
    "private.view_store.private_folder",
    "private.view_store.atomic_file",
)


def _ask(shard: Any, call: Callable[[RayVoter], Any]) -> str:
    with pytest.raises(ShardFailed) as caught:
        call(RayVoter([shard], lambda problems: None))
    return _clean(caught.value)


def test_a_shard_that_fails_to_prepare_tells_a_step_and_a_type(start_shard, home):
    shard = start_shard()
    for number, kind in enumerate(RAISED):
        # RayVoter asks twice: it starts the work, and collects it later.
        plant_in(home, {f"spti_ray.{IN_PREPARE[number % len(IN_PREPARE)]}": (kind, 2)})
        said = _ask(shard, RayVoter.ready)
        assert said.startswith("shard 0: ") and "\n" not in said and len(said) < 250
    plant_in(home, {})
    told: list[tuple[int, str]] = []
    RayVoter([shard], told.extend).ready()
    assert len(told) > 8 and find_in_bytes(repr(told).encode()) == []


def test_a_shard_that_fails_to_vote_tells_a_step_and_a_type(start_shard, home):
    shard = start_shard()
    plant_in(home, {})
    RayVoter([shard], lambda problems: None).ready()
    for kind in RAISED:
        plant_in(home, {"spti_ray.private.shard.cast_votes": (kind, 1)})
        said = _ask(shard, lambda voter: list(voter.vote(QUERY, _scored(), 1)))
        assert said == (
            "shard 0: vote failed (TaskCancelledError)"
            if kind == "KeyboardInterrupt"
            else f"shard 0: voting failed ({TYPES.get(kind, kind)})"
        )
    (votes,) = RayVoter([shard], lambda problems: None).vote(QUERY, _scored(), 1)
    assert votes.query == QUERY and votes.counts_K.sum() > 20


def test_what_is_said_in_a_shards_process_is_heard_nowhere(start_shard, home):
    shard = start_shard()
    places = (*IN_PREPARE, "private.shard.cast_votes")
    plant_in(home, {f"spti_ray.{place}": ("shout", 2) for place in places})
    voter = RayVoter([shard], lambda problems: None)
    voter.ready()
    (votes,) = voter.vote(QUERY, _scored(), 1)
    assert votes.counts_K.sum() > 20
    assert all((home / f"spti_ray.{place}.0").exists() for place in places)


def test_a_shard_that_can_not_be_started_is_told_in_one_line(start_shard):
    said = _ask(start_shard(batch_size=0), RayVoter.ready)
    assert said.startswith("shard 0 could not be started: ") and said.endswith("shard 0: starting failed (ValueError)")


def test_an_engine_that_fails_on_everything_ends_the_run_in_one_line(start_shard, options, home):
    name = actor_name("broken", Bundle("captioner", 0, 0.1, 0))
    broken = actor_class("captioner").options(**options, name=name)
    handle = broken.remote("captioner", _settings("captioner", home, broken=True))
    ray.get(handle.ready.remote())
    said = _ask(start_shard(serving={"captioner": [name]}), RayVoter.ready)
    assert said == "shard 0: an engine fails on a blank image too"


def test_data_that_went_away_are_told_by_the_setting(start_shard, images):
    images.rename(images.with_name("moved"))
    said = _ask(start_shard(), RayVoter.ready)
    assert said.startswith("shard 0: prepare failed: data.path: ") and CORE not in said
