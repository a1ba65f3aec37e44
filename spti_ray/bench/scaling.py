"""Measures strong and weak scaling with SIMULATED engines on real Ray actors, and the driver's cost of a batch."""

from __future__ import annotations

import time
from typing import Any

from spti_ray.bench.latency import latency_engine
from spti_ray.bench.pools import engines_on_ray, pool_of
from spti_ray.config import RuntimeConfig
from spti_ray.runtime.scheduling.call_length import CallLength
from spti_ray.step_progress import Told

SECONDS = (1.0, 0.1)
"""Lengths of a batch."""

LONGEST_S = 64.0
"""Seconds that one measurement of strong scaling may take."""


def scaling(
    sizes: tuple[int, ...],
    each_s: float = 8.0,
    runtime: RuntimeConfig | None = None,
    told: Told = lambda what, done, total: None,
) -> dict[str, Any]:
    """Measure efficiencies: the time that the work takes on engines that never wait, over the time that it took.

    The measured time includes beginning and end. Weak scaling: `each_s` seconds of work for each engine. Strong
    scaling: the same work for every size, which is `each_s / 2` seconds for each engine of the largest; None for sizes
    that would need longer than `LONGEST_S`.

    Args:
        sizes: Numbers of engines.
        each_s: Seconds of work for one engine.
        runtime: Where Ray is.
        told: Is told of each measurement.
    """
    found: dict[str, Any] = {"engines": "SIMULATED: calls that sleep, in Ray actors", "actors": list(sizes)}
    work_s = max(sizes) * each_s / 2
    strong = [size for size in sizes if work_s / size <= LONGEST_S]
    num_done, num = 0, len(SECONDS) * (len(strong) + len(sizes))
    for seconds in SECONDS:
        settings = latency_engine(seconds).model_copy(update={"replicas": max(sizes)})
        told(f"{max(sizes)} engines start", num_done, num)
        with engines_on_ray({"text_embedder": settings}, runtime) as actors:

            def measured(size: int, engine_s: float, seconds: float = seconds, actors: Any = actors) -> float:
                nonlocal num_done
                told(f"{size} engines, {engine_s:g} s of work for each", num_done, num)
                num_done += 1
                batches = max(size, round(engine_s * size / seconds))
                return round(_efficiency(actors["text_embedder"][:size], batches, seconds), 4)

            found[f"strong_{seconds:g}s"] = [
                measured(size, work_s / size) if size in strong else None for size in sizes
            ]
            found[f"weak_{seconds:g}s"] = [measured(size, each_s) for size in sizes]
    return found


def _efficiency(actors: list[Any], batches: int, seconds: float) -> float:
    pool = pool_of("text_embedder", actors)
    started = time.monotonic()
    done = sum(result is not None for result in pool.map(([number],) for number in range(batches)))
    took = time.monotonic() - started
    if done != batches:
        raise RuntimeError(f"{batches - done} of {batches} batches failed")
    return batches * seconds / len(actors) / took


def driver_cost(
    batches: int = 4000, runtime: RuntimeConfig | None = None, told: Told = lambda what, done, total: None
) -> dict[str, float]:
    """Measure the driver's CPU time for a batch, in microseconds, with four engines that take no time.

    Args:
        batches: How many batches are run.
        runtime: Where Ray is.
        told: Is told of each measurement.

    Returns:
        `thread_us`: of the driver's own thread; `process_us`: of all threads of its process, Ray's included. Of
        `thread_us`, `call_us` is what a call costs however many batches it has, and `batch_us` what each costs in it.
    """
    with engines_on_ray({"text_embedder": latency_engine(0.0).model_copy(update={"replicas": 4})}, runtime) as actors:

        def measured(together: int) -> tuple[float, float]:
            pool = pool_of("text_embedder", actors["text_embedder"], call_length=_FixedLength(together))
            list(pool.map(([number],) for number in range(batches // 10)))
            thread, process = time.thread_time(), time.process_time()
            list(pool.map(([number],) for number in range(batches)))
            thread, process = time.thread_time() - thread, time.process_time() - process
            return round(thread / batches * 1e6, 1), round(process / batches * 1e6, 1)

        told("a batch in each call", 0, 2)
        thread_us, process_us = measured(1)
        told("eight batches in each call", 1, 2)
        in_eight_us, _ = measured(8)
    call_us = max(0.0, round((thread_us - in_eight_us) * 8 / 7, 1))
    return {
        "thread_us": thread_us,
        "process_us": process_us,
        "call_us": call_us,
        "batch_us": round(thread_us - call_us, 1),
    }


class _FixedLength(CallLength):
    """So many batches in each call."""

    def __init__(self, count: int) -> None:
        super().__init__("bench")
        self._count = count

    def batches(self, num_actors: int) -> int:
        return self._count
