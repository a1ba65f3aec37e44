"""Measures what is lost when engines are killed at random: SIMULATED engines in real Ray actors."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from spti_ray.bench.latency import latency_engine
from spti_ray.bench.pools import LIMITS, engines_on_ray, pool_of
from spti_ray.config import RuntimeConfig
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.scheduling.events import Finished, Outcome
from spti_ray.runtime.scheduling.meter import NoMetrics


class _Attempts(NoMetrics):
    """Counts the outcomes of attempts."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def back(self, outcome: Outcome, abreast: int) -> None:
        self.outcomes["done" if isinstance(outcome, Finished) else "lost"] += 1


def kills(
    num_actors: int = 4,
    batches: int = 240,
    batch_s: float = 0.25,
    every_s: float = 2.0,
    most: int = 100,
    runtime: RuntimeConfig | None = None,
) -> dict[str, Any]:
    """Kill a random engine every `every_s` seconds, at most `most` times, while batches run through the engines.

    Args:
        num_actors: How many engines there are.
        batches: How many batches are run.
        batch_s: Seconds that an engine takes for a batch.
        every_s: Seconds between kills.
        most: Number of kills after which no more follow.
        runtime: Where Ray is.

    Returns:
        Among other figures `tries_lost_per_kill`: batches that had to be tried again, at work or next in line at the
        killed engine; `waste_at_most`: upper bound of the share of engine seconds that was lost, since an engine works
        on one batch at a time; `restart_s`: engine seconds that a kill costs in all, mostly the engine's own start.

    Raises:
        RuntimeError: a result is missing, or came twice.
    """
    draw = random.Random(0)
    attempts = _Attempts()
    with engines_on_ray(
        {"text_embedder": latency_engine(batch_s).model_copy(update={"replicas": num_actors})}, runtime
    ) as actors:
        events = RayEvents()
        # These crashes are not the batch's fault, and must not count as such.
        limits = replace(LIMITS, crashes=10**6)
        pool = pool_of("text_embedder", actors["text_embedder"], events, limits, meter=attempts)
        killed = 0

        def kill() -> None:
            nonlocal killed
            killed += 1
            events.kill(draw.choice(actors["text_embedder"]), for_good=False)
            if killed < most:
                events.after(every_s, kill)

        events.after(every_s, kill)
        began = time.monotonic()
        results = list(pool.map(([number],) for number in range(batches)))
        took = time.monotonic() - began
    if results != [[number] for number in range(batches)]:
        raise RuntimeError("batches were lost, or came twice")
    lost = attempts.outcomes["lost"]
    return {
        "engines": "SIMULATED: calls that sleep, in Ray actors",
        "actors": num_actors,
        "units": batches,
        "kills": killed,
        "tries_lost_per_kill": round(lost / max(1, killed), 3),
        "waste_at_most": round(killed * batch_s / (batches * batch_s), 4),
        "restart_s": round((num_actors * took - batches * batch_s) / max(1, killed), 2),
    }
