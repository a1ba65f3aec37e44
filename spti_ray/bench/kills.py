"""What is lost when engines are killed at random: SIMULATED engines in real Ray actors."""

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


class _Tries(NoMetrics):
    """Counts what came back."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def back(self, outcome: Outcome, abreast: int) -> None:
        self.outcomes["done" if isinstance(outcome, Finished) else "lost"] += 1


def kills(
    num_actors: int = 4,
    units: int = 240,
    unit_s: float = 0.25,
    every_s: float = 2.0,
    most: int = 100,
    runtime: RuntimeConfig | None = None,
) -> dict[str, Any]:
    """Kill one of the engines every so often, at most so many times, while a stream runs through them.

    `tries_lost_per_kill`: units that had to be tried again, at work or next in line at the engine. `waste_at_most`: of
    engine seconds, since an engine works on one unit at a time. `restart_s`: engine seconds that a kill costs in all,
    nearly all of them the engine's own start.
    """
    draw = random.Random(0)
    tries = _Tries()
    with engines_on_ray(
        {"text_embedder": latency_engine(unit_s).model_copy(update={"replicas": num_actors})}, runtime
    ) as actors:
        events = RayEvents()
        # Whoever kills is not a unit; a run would know that from a node's end.
        limits = replace(LIMITS, crashes=10**6)
        pool = pool_of("text_embedder", actors["text_embedder"], events, limits, meter=tries)
        killed = 0

        def kill() -> None:
            nonlocal killed
            killed += 1
            events.kill(draw.choice(actors["text_embedder"]), for_good=False)
            if killed < most:
                events.after(every_s, kill)

        events.after(every_s, kill)
        began = time.monotonic()
        results = list(pool.map(([number],) for number in range(units)))
        took = time.monotonic() - began
    if results != [[number] for number in range(units)]:
        raise RuntimeError("units were lost, or came twice")
    lost = tries.outcomes["lost"]
    return {
        "engines": "SIMULATED: calls that sleep, in Ray actors",
        "actors": num_actors,
        "units": units,
        "kills": killed,
        "tries_lost_per_kill": round(lost / max(1, killed), 3),
        "waste_at_most": round(killed * unit_s / (units * unit_s), 4),
        "restart_s": round((num_actors * took - units * unit_s) / max(1, killed), 2),
    }
