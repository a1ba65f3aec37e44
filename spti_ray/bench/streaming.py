"""One generation's stages side by side against one after the other: the same work, SIMULATED engines of equal speed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from spti_ray.bench.latency import latency
from spti_ray.bench.pools import engines_of, on_ray, pool_of
from spti_ray.config import EngineConfig, Role, RuntimeConfig
from spti_ray.observability.trace import Trace
from spti_ray.public.engines import RenderJob
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.scheduling.engine_streams import PooledEngines

STAGES: tuple[Role, ...] = ("writer", "renderer", "image_embedder")


def streaming(
    units: int = 40, seconds: float = 0.25, runtime: RuntimeConfig | None = None
) -> tuple[dict[str, Any], Trace]:
    """The time of write -> render -> embed over that with a barrier after each stage; and what happened when."""
    trace = Trace()
    settings: dict[Role, EngineConfig] = {role: latency(seconds, role) for role in STAGES}
    with on_ray(settings, runtime) as actors:
        events = RayEvents()

        def pool(role: Role) -> Any:
            return pool_of(
                role, actors[role], events, on_batch=lambda result, busy: trace.batch(role, len(result), busy)
            )

        engines = PooledEngines({role: pool(role) for role in STAGES}, engines_of(settings))

        def generation(barriers: bool) -> float:
            def stage(stream: Iterable[Any]) -> Iterable[Any]:
                return list(stream) if barriers else stream

            started = time.monotonic()
            texts = stage(engines.write(range(units)))  # type: ignore[arg-type] these engines take anything
            images = stage(engines.render(RenderJob(text, 0) for text in texts))  # type: ignore[arg-type]
            done = list(engines.embed_images(images))
            if done != list(range(units)):
                raise RuntimeError("units were lost")
            return time.monotonic() - started

        trace.stage("a barrier after each stage")
        with_barriers = generation(barriers=True)
        trace.stage("streaming")
        streamed = generation(barriers=False)
        trace.end_stage()
    return {
        "engines": "SIMULATED",
        "with_barriers_s": round(with_barriers, 3),
        "streaming_s": round(streamed, 3),
        "ratio": round(streamed / with_barriers, 4),
    }, trace
