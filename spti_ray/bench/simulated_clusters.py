"""Simulates large clusters by discrete events: the run's own pools, with SIMULATED actors and simulated time.

The driver's cost of a batch is the measured one, and it hands out one batch at a time.
"""

from __future__ import annotations

import math
import random
import time
from typing import Any

from spti_ray.bench.pools import LIMITS
from spti_ray.runtime.scheduling.call_length import CallLength
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents

BATCHES_PER_ACTOR = 6
"""At least."""

WORK_S = 24.0
"""Of each engine, at least."""


def many_actors(
    driver_s: float, num_actors: int = 10_000, seconds: tuple[float, ...] = (1, 3, 10, 30), batch_s: float = 0.0
) -> list[Any]:
    """The share of their time for which engines work, each from its first batch to its last, by length of a batch.

    Args:
        driver_s: Seconds that the driver takes for a call.
        num_actors: How many engines there are.
        seconds: Mean lengths of a batch; single lengths are uniform within a third of the mean.
        batch_s: Seconds that the driver takes for each batch of a call, beside those for the call.

    Returns:
        A row for each length, with how many batches there are in a call and how long it is: see `CallLength`.
    """
    rows: list[Any] = []
    for mean in seconds:
        length = CallLength("renderer")
        per_actor = max(BATCHES_PER_ACTOR, math.ceil(WORK_S / mean))
        efficiency, _ = _run(driver_s, num_actors, mean, per_actor, batch_s, length)
        together = length.batches(num_actors)
        rows.append(
            {"unit_s": mean, "actors": num_actors, "efficiency": round(efficiency, 4)}
            | {"batches_a_call": together, "call_s": round(together * mean, 2)}
        )
    return rows


def cost_by_size(sizes: tuple[int, ...] = (10, 100, 1000, 10_000)) -> list[dict[str, float]]:
    """Microseconds of this machine for a batch, by the number of actors: constant if all costs are linear."""
    return [
        {
            "actors": size,
            "us_per_unit": round(1e6 * _run(0.0, size, 10.0, max(BATCHES_PER_ACTOR, 20_000 // size))[1], 1),
        }
        for size in sizes
    ]


def _run(
    driver_s: float,
    num_actors: int,
    mean_s: float,
    per_actor: int = BATCHES_PER_ACTOR,
    batch_s: float = 0.0,
    length: CallLength | None = None,
) -> tuple[float, float]:
    """Simulate one stream. Returns the efficiency, and this machine's seconds per batch."""
    draw = random.Random(0)
    events = SimulatedEvents(driver_s, batch_s)
    actors = [SimulatedActor(lambda seconds: seconds) for _ in range(num_actors)]
    batches = [mean_s * draw.uniform(2 / 3, 4 / 3) for _ in range(num_actors * per_actor)]
    pool = Pool("renderer", actors, events, LIMITS, call_length=length)
    while pool.num_up < num_actors:
        events.wait()
    began = time.perf_counter()
    done = sum(1 for _ in pool.map((seconds,) for seconds in batches))
    took = time.perf_counter() - began
    if done != len(batches):
        raise RuntimeError("batches were lost")
    busy_s, idle_s = (sum(getattr(actor, name) for actor in actors) for name in ("busy_s", "idle_s"))
    return busy_s / (busy_s + idle_s), took / len(batches)


def spot_nodes(
    num_actors: int = 1000, batch_s: float = 30.0, lost_per_hour: float = 0.5, restart_s: float = 180.0
) -> dict[str, Any]:
    """Simulate two hours of spot GPUs, each of which is preempted now and then.

    Args:
        num_actors: How many engines there are.
        batch_s: Seconds of a batch.
        lost_per_hour: Preemptions of one engine in an hour, on average.
        restart_s: Seconds until a preempted engine is up again.

    Returns:
        Among other figures `waste`: engine seconds of batches that were lost, over those of batches that came back.
    """
    draw = random.Random(0)
    events = SimulatedEvents()
    actors = [SimulatedActor(lambda number: batch_s, restart_s=restart_s) for _ in range(num_actors)]
    hours, preempted = 2.0, 0
    batches = round(num_actors * hours * 3600 / batch_s)

    def take(actor: SimulatedActor) -> None:
        nonlocal preempted
        preempted += 1
        events.crash(actor, preempted=True)
        events.after(draw.expovariate(lost_per_hour / 3600), lambda: take(actor))

    for actor in actors:
        events.after(draw.expovariate(lost_per_hour / 3600), lambda actor=actor: take(actor))
    pool = Pool("renderer", actors, events, LIMITS)
    done = sum(result is not None for result in pool.map((number,) for number in range(batches)))
    useful_s, lost_s = (sum(getattr(actor, name) for actor in actors) for name in ("busy_s", "lost_s"))
    up_s = num_actors * events.now() - preempted * restart_s
    return {
        "actors": num_actors,
        "unit_s": batch_s,
        "lost_per_actor_hour": lost_per_hour,
        "preempted": preempted,
        "units": batches,
        "units_given_up": batches - done,
        "waste": round(lost_s / useful_s, 5),
        "efficiency_while_up": round(useful_s / up_s, 4),
    }
