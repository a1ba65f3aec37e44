"""Strong and weak scaling with SIMULATED engines on real Ray actors, and what a unit costs the driver."""

from __future__ import annotations

import time
from typing import Any

from spti_ray.bench.latency import latency_engine
from spti_ray.bench.pools import engines_on_ray, pool_of
from spti_ray.config import RuntimeConfig

SECONDS = (1.0, 0.1)
"""Of a unit."""

LONGEST_S = 64.0
"""Of one measurement of strong scaling."""


def scaling(sizes: tuple[int, ...], each_s: float = 8.0, runtime: RuntimeConfig | None = None) -> dict[str, Any]:
    """Efficiencies: the time that the units need on so many engines that never wait, over the time that it took,
    beginning and end included.

    Weak: `each_s` engine seconds of units for each engine. Strong: the same work for any number, half of that for each
    of the most engines; by sizes that need no longer than `LONGEST_S` for it, None for the others.
    """
    found: dict[str, Any] = {"engines": "SIMULATED: calls that sleep, in Ray actors", "actors": list(sizes)}
    work_s = max(sizes) * each_s / 2
    for seconds in SECONDS:
        settings = latency_engine(seconds).model_copy(update={"replicas": max(sizes)})
        with engines_on_ray({"text_embedder": settings}, runtime) as actors:

            def measured(size: int, engine_s: float, seconds: float = seconds, actors: Any = actors) -> float:
                units = max(size, round(engine_s / seconds))
                return round(_efficiency(actors["text_embedder"][:size], units, seconds), 4)

            found[f"strong_{seconds:g}s"] = [
                measured(size, work_s) if work_s / size <= LONGEST_S else None for size in sizes
            ]
            found[f"weak_{seconds:g}s"] = [measured(size, each_s * size) for size in sizes]
    return found


def _efficiency(actors: list[Any], units: int, seconds: float) -> float:
    pool = pool_of("text_embedder", actors)
    started = time.monotonic()
    done = sum(result is not None for result in pool.map(([number],) for number in range(units)))
    took = time.monotonic() - started
    if done != units:
        raise RuntimeError(f"{units - done} of {units} units failed")
    return units * seconds / len(actors) / took


def driver_cost(units: int = 4000, runtime: RuntimeConfig | None = None) -> dict[str, float]:
    """Microseconds of a unit that takes no time, through four actors: of the driver's own thread, and of all threads of
    its process, Ray's included."""
    with engines_on_ray({"text_embedder": latency_engine(0.0).model_copy(update={"replicas": 4})}, runtime) as actors:
        pool = pool_of("text_embedder", actors["text_embedder"])
        list(pool.map(([number],) for number in range(units // 10)))
        thread, process = time.thread_time(), time.process_time()
        list(pool.map(([number],) for number in range(units)))
        return {
            "thread_us": round((time.thread_time() - thread) / units * 1e6, 1),
            "process_us": round((time.process_time() - process) / units * 1e6, 1),
        }
