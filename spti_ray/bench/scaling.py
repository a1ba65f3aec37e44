"""Strong and weak scaling with SIMULATED engines on real Ray actors, and what a unit costs the driver."""

from __future__ import annotations

import time
from typing import Any

from spti_ray.bench.latency import latency
from spti_ray.bench.pools import on_ray, pool_of
from spti_ray.config import RuntimeConfig

SECONDS = (1.0, 0.1)
"""Of a unit."""


def scaling(sizes: tuple[int, ...], work_s: float = 64.0, runtime: RuntimeConfig | None = None) -> dict[str, Any]:
    """Efficiencies: the time that the units need on so many engines that never wait, over the time that it took.

    Strong: `work_s` engine seconds of units in all. Weak: an eighth of it for each engine.
    """
    found: dict[str, Any] = {"engines": "SIMULATED: calls that sleep, in Ray actors", "actors": list(sizes)}
    for seconds in SECONDS:
        settings = latency(seconds).model_copy(update={"replicas": max(sizes)})
        with on_ray({"renderer": settings}, runtime) as actors:
            for name, each_s in (("strong", 0.0), ("weak", work_s / 8)):
                found[f"{name}_{seconds:g}s"] = [
                    round(
                        _efficiency(
                            actors["renderer"][:size], max(size, round((each_s * size or work_s) / seconds)), seconds
                        ),
                        4,
                    )
                    for size in sizes
                ]
    return found


def _efficiency(actors: list[Any], units: int, seconds: float) -> float:
    pool = pool_of("renderer", actors)
    started = time.monotonic()
    done = sum(result is not None for result in pool.map(([number], [0]) for number in range(units)))
    took = time.monotonic() - started
    if done != units:
        raise RuntimeError(f"{units - done} of {units} units failed")
    return units * seconds / len(actors) / took


def driver_cost(units: int = 4000, runtime: RuntimeConfig | None = None) -> dict[str, float]:
    """Microseconds of a unit that takes no time, through four actors: of the driver's own thread, and of all threads of
    its process, Ray's included."""
    with on_ray({"renderer": latency(0.0).model_copy(update={"replicas": 4})}, runtime) as actors:
        pool = pool_of("renderer", actors["renderer"])
        list(pool.map(([number], [0]) for number in range(units // 10)))
        thread, process = time.thread_time(), time.process_time()
        list(pool.map(([number], [0]) for number in range(units)))
        return {
            "thread_us": round((time.thread_time() - thread) / units * 1e6, 1),
            "process_us": round((time.process_time() - process) / units * 1e6, 1),
        }
