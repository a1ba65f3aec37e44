"""Creates the actors of a run: those it starts with in its reserved resources, and more while it waits for them."""

from __future__ import annotations

import math
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.models.engine_process import WAITING_THREADS_SLEEP, engine_environment
from spti_ray.models.factory import public_engine_config
from spti_ray.runtime.hosting.engine import CALLS_AT_A_TIME, PRIVATE_ROLES, serving_roles
from spti_ray.runtime.hosting.start_order import first_to_last
from spti_ray.runtime.placement.bundles import Bundle, bundle_of
from spti_ray.runtime.ray.cluster import Reserved, address_of
from spti_ray.runtime.ray.engine_actor import AsyncEngineActor, PrivateEngineActor, RendererActor
from spti_ray.runtime.ray.events import creation_failure
from spti_ray.runtime.ray.gpu_wishes import Wishes
from spti_ray.runtime.ray.shard_actor import ShardActor
from spti_ray.runtime.ray.visible_gpus import environment
from spti_ray.runtime.scheduling.engine_info import EngineFailed

_LOOK_UP_S = 1.0


def _options(bundle: Bundle) -> dict[str, Any]:
    # Restarts are free and unlimited, task retries are ours: Ray's would run a batch twice without our knowing.
    return {
        "num_cpus": bundle.resources().get("CPU", 0),
        "num_gpus": bundle.num_gpus,
        "max_restarts": -1,
        "max_task_retries": 0,
    }


def actor_class(role: Role, serving: tuple[Role, ...] = PRIVATE_ROLES) -> Any:
    """The actor of an engine: only those of `serving` have a method for private input."""
    if role in serving:
        return PrivateEngineActor
    return AsyncEngineActor if role == "writer" else RendererActor


def actor_name(session: str, bundle: Bundle) -> str:
    return f"{session}-{bundle.role}-{bundle.index}"


def start_engines(
    reserved: Reserved,
    bundles: tuple[Bundle, ...],
    engines: EnginesConfig,
    session: str,
    metrics_of: str = "",
    serving: tuple[Role, ...] = PRIVATE_ROLES,
) -> dict[Role, list[Any]]:
    """Create the engine actors of all roles, named `session`-role-index; they load their models at the same time. Those
    that are needed first come first: a machine starts only as many processes at a time as it has cores.

    `metrics_of` names the run for the figures that a writer's engine publishes; empty: it publishes none. `serving`:
    see `serving_roles`.
    """
    actors: dict[Role, list[Any]] = {}
    of_engines = [bundle for bundle in bundles if bundle.role != "shard"]
    for bundle in sorted(of_engines, key=lambda bundle: first_to_last(bundle.role)):  # type: ignore[arg-type]
        role: Role = bundle.role  # type: ignore[assignment]
        options = {"name": actor_name(session, bundle), "scheduling_strategy": reserved.of(bundle)}
        actors.setdefault(role, []).append(
            _engine(role, bundle, engines, options, metrics_of, serving, reserved.joined)
        )
    return actors


def another_engine(
    role: Role,
    index: int,
    session: str,
    config: Config,
    engines: EnginesConfig,
    wishes: Wishes,
    metrics_of: str = "",
) -> Any:
    """Create one more actor of a role, wherever there is or will be room: this is what makes a cluster grow.

    Named as those of `start_engines` are, it serves shards too; `index` must be new in the session.
    """
    bundle = bundle_of(role, index, config, engines)
    options = {"name": actor_name(session, bundle)} | wishes.options(bundle)
    joined = address_of(config.runtime) is not None
    return _engine(role, bundle, engines, options, metrics_of, serving_roles(config), joined)


def _engine(
    role: Role,
    bundle: Bundle,
    engines: EnginesConfig,
    options: dict[str, Any],
    metrics_of: str,
    serving: tuple[Role, ...],
    joined: bool,
) -> Any:
    settings = engines.of(role)
    more: dict[str, Any] = {}
    # An engine that sees private input neither takes turns nor tells its figures.
    if role in serving:
        more["serving"] = serving
    else:
        more["takes_turns"] = bool(bundle.group)
        settings = public_engine_config(settings, takes_turns=bool(bundle.group), reports_stats=bool(metrics_of))
    if role == "writer":
        more["metrics_of"] = metrics_of
    variables = environment(engine_environment(role, settings, joined), bundle.num_gpus)
    if role == "image_embedder":
        options = options | {"max_concurrency": CALLS_AT_A_TIME}
    actor = actor_class(role, serving).options(**_options(bundle), **variables, **options)
    return actor.remote(role, settings, **more)


def start_shards(
    reserved: Reserved,
    bundles: tuple[Bundle, ...],
    config: Config,
    engines: EnginesConfig,
    session: str,
    views: tuple[str, str, str, str],
) -> list[Any]:
    """Create the shard actors. They hold private images: their exceptions and logs are content-free.

    `views`: cache, key, listing and survey of a `ShardHost`.
    """
    # By name: handles among the arguments would sit in the object store, and a restart after their loss would fail.
    serving = {
        role: [actor_name(session, bundle) for bundle in bundles if bundle.role == role] for role in PRIVATE_ROLES
    }
    first: Role = "image_embedder" if "image" in config.evolution.spaces else "captioner"
    return [
        ShardActor.options(**options).remote(config, index, serving, engines.of(first).batch_size, *views)
        for index, options in shard_options(reserved, bundles)
    ]


def shard_options(reserved: Reserved, bundles: tuple[Bundle, ...]) -> list[tuple[int, dict[str, Any]]]:
    """(index, options) of the actor of each shard."""
    return [
        (
            bundle.index,
            _options(bundle)
            | {"scheduling_strategy": reserved.of(bundle)}
            | environment(shard_environment(bundle.num_cpus), bundle.num_gpus),
        )
        for bundle in bundles
        if bundle.role == "shard"
    ]


def shard_environment(num_cpus: float) -> dict[str, str]:
    """Environment variables of a shard's process: as many threads as it has CPUs, at least one."""
    return WAITING_THREADS_SLEEP | {
        "OMP_NUM_THREADS": str(max(1, math.ceil(num_cpus))),
        # Similarities are exact in float64 of 53 bits. Some GPUs can be told to make it of shorter numbers.
        "CUBLAS_EMULATE_DOUBLE_PRECISION": "0",
    }


def options_in_place_of(
    role: Role, reserved: Reserved, bundles: tuple[Bundle, ...], engines: EnginesConfig
) -> dict[str, Any]:
    """Options of an actor that has the resources of a role's first engine before that starts, and its environment."""
    bundle = next(bundle for bundle in bundles if bundle.role == role)
    variables = environment(engine_environment(role, engines.of(role), reserved.joined), bundle.num_gpus)
    return _options(bundle) | variables | {"scheduling_strategy": reserved.of(bundle)}


def until_ready(actors: dict[Role, list[Any]]) -> None:
    """Wait until all of them have loaded their models."""
    for ready in [actor.ready.remote() for of_role in actors.values() for actor in of_role]:
        _answer(ready)


def _answer(reference: Any) -> Any:
    """`ray.get`, which comes back to Python often: a driver that waits can be stopped."""
    while not ray.wait([reference], timeout=_LOOK_UP_S)[0]:
        pass
    return ray.get(reference)


def identity(role: Role, actors: list[Any]) -> dict[str, str]:
    """What a role runs; waits for its model to be loaded. Raises EngineFailed in one line.

    By the first actor that answers: another may be gone with its node, or on its way back.
    """
    reason = "it has no actors"
    for actor in actors:
        try:
            return _answer(actor.ready.remote())
        except ActorDiedError as error:
            reason = creation_failure(error) or "its process died"
        except RayActorError:
            reason = "its actor is away"
        except RayTaskError as error:
            raise EngineFailed(f"the {role} could not be started: {type(error.cause).__name__}") from None
    raise EngineFailed(f"the {role} could not be started: {reason}")
