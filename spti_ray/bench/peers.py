"""Measures the same SIMULATED stages through our pools and through Ray Data's actor pools, in one sitting."""

from __future__ import annotations

import time
from typing import Any

from spti_ray.bench.latency import latency_engine
from spti_ray.bench.pools import engines_of, engines_on_ray, pool_of
from spti_ray.bench.streaming import STAGES
from spti_ray.config import EngineConfig, Role, RuntimeConfig
from spti_ray.public.engines import RenderJob
from spti_ray.runtime.ray.data_pipeline import data_pipeline_s
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.step_progress import Told

WORK_S = 8.0
"""Of each actor of a stage."""

CASES = ((1, 1.0, (1,)), (1, 0.1, (1, 8)), (3, 0.1, (1, 8)))
"""(stages, seconds of a unit, units in a block of Ray Data): of several block sizes the best counts."""


def peers(
    runtime: RuntimeConfig | None = None,
    num_actors: int = 16,
    work_s: float = WORK_S,
    told: Told = lambda what, done, total: None,
) -> dict[str, Any]:
    """Efficiencies of both: the time that the work takes on engines that never wait, over the time that it took.

    Ray Data's time is from its first unit's start to its last unit's end; ours has beginning and end in it too.

    Args:
        runtime: Where Ray is.
        num_actors: Actors of each stage.
        work_s: Seconds of work for each actor of a stage.
        told: Is told of each measurement.
    """
    rows: list[dict[str, Any]] = []
    for number, (stages, seconds, blocks) in enumerate(CASES):
        name = f"{stages} stage{'s' * (stages > 1)}, units of {seconds:g} s"
        told(name, number, len(CASES))
        units = round(work_s / seconds) * num_actors
        ideal_s = units * seconds / num_actors + (stages - 1) * seconds
        roles: tuple[Role, ...] = STAGES if stages == len(STAGES) else ("text_embedder",)
        engine = {"replicas": num_actors}
        settings: dict[Role, EngineConfig] = {
            role: latency_engine(seconds, role).model_copy(update=engine) for role in roles
        }
        with engines_on_ray(settings, runtime) as actors:
            ours_s = _ours(settings, actors, units)
            told(f"{name}, Ray Data", number, len(CASES))
            theirs_s = {block: data_pipeline_s(stages, num_actors, units, seconds, block) for block in blocks}
        rows.append(
            {"stages": stages, "unit_s": seconds, "actors": num_actors, "units": units}
            | {"ours": round(ideal_s / ours_s, 4), "ray_data": round(ideal_s / min(theirs_s.values()), 4)}
            | {"ray_data_s_by_block": {str(block): round(took, 2) for block, took in theirs_s.items()}}
        )
    return {"engines": "SIMULATED: calls that sleep, in Ray actors", "rows": rows}


def _ours(settings: dict[Role, EngineConfig], actors: dict[Role, list[Any]], units: int) -> float:
    events = RayEvents()
    pools: dict[Role, Pool] = {role: pool_of(role, actors[role], events) for role in settings}
    engines: Any = PooledEngines(pools, engines_of(settings))  # whose items are numbers here
    began = time.monotonic()
    if "writer" in settings:
        done = engines.embed_images(engines.render(RenderJob(text, 0) for text in engines.write(range(units))))
    else:
        done = engines.embed_texts(range(units))
    if list(done) != list(range(units)):
        raise RuntimeError("units were lost, or their order")
    return time.monotonic() - began
