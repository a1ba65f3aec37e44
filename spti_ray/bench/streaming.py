"""Measures streaming: the stages of a generation side by side, against one after the other, with SIMULATED engines."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from spti_ray.bench.latency import latency_engine
from spti_ray.bench.pools import engines_of, engines_on_ray, pool_of
from spti_ray.config import EngineConfig, Role, RuntimeConfig
from spti_ray.observability.trace import Trace
from spti_ray.public.engines import RenderJob
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.scheduling.engine_streams import PooledEngines

STAGES: tuple[Role, ...] = ("writer", "renderer", "image_embedder")


def streaming(
    batches: int = 40, seconds: float = 0.25, runtime: RuntimeConfig | None = None
) -> tuple[dict[str, Any], Trace]:
    """Compare the time of write -> render -> embed with and without a barrier after each stage.

    Args:
        batches: Batches of each stage.
        seconds: That each batch takes in each stage.
        runtime: Where Ray is.

    Returns:
        The times and their ratio, and the trace of both.

    Raises:
        RuntimeError: results are missing or not in order.
    """
    trace = Trace()
    settings: dict[Role, EngineConfig] = {role: latency_engine(seconds, role) for role in STAGES}
    with engines_on_ray(settings, runtime) as actors:
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
            texts = stage(engines.write(range(batches)))  # type: ignore[arg-type] these engines take anything
            images = stage(engines.render(RenderJob(text, 0) for text in texts))  # type: ignore[arg-type]
            done = list(engines.embed_images(images))
            if done != list(range(batches)):
                raise RuntimeError("batches were lost")
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
