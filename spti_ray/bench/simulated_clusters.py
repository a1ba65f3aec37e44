"""A discrete-event model of clusters that nobody has at hand: the run's own pools, on SIMULATED actors and time.

The driver's cost of a unit is the one that was measured; while it hands out one unit, it hands out no other.
"""

from __future__ import annotations

import random
import time
from typing import Any

from spti_ray.bench.pools import LIMITS
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents

UNITS_PER_ACTOR = 6


def many_actors(driver_s: float, num_actors: int = 10_000, seconds: tuple[float, ...] = (1, 3, 10, 30)) -> list[Any]:
    """Share of their time for which so many engines are at work, each from its first unit of a stream to its last.

    By the mean length of a unit; lengths vary by a third, evenly.
    """
    return [
        {"unit_s": mean, "actors": num_actors, "efficiency": round(_run(driver_s, num_actors, mean)[0], 4)}
        for mean in seconds
    ]


def cost_by_size(sizes: tuple[int, ...] = (10, 100, 1000, 10_000)) -> list[dict[str, float]]:
    """What our own code costs this machine for a unit, by the number of actors: no faster than linear in all means
    that it stays where it is."""
    return [
        {"actors": size, "us_per_unit": round(1e6 * _run(0.0, size, 10.0, max(UNITS_PER_ACTOR, 20_000 // size))[1], 1)}
        for size in sizes
    ]


def _run(driver_s: float, num_actors: int, mean_s: float, per_actor: int = UNITS_PER_ACTOR) -> tuple[float, float]:
    """Efficiency, and this machine's seconds per unit."""
    draw = random.Random(0)
    events = SimulatedEvents(driver_s)
    actors = [SimulatedActor(lambda unit_s: unit_s) for _ in range(num_actors)]
    units = [mean_s * draw.uniform(2 / 3, 4 / 3) for _ in range(num_actors * per_actor)]
    pool = Pool("renderer", actors, events, LIMITS)
    began = time.perf_counter()
    done = sum(1 for _ in pool.map((unit_s,) for unit_s in units))
    took = time.perf_counter() - began
    if done != len(units):
        raise RuntimeError("units were lost")
    busy_s, idle_s = (sum(getattr(actor, name) for actor in actors) for name in ("busy_s", "idle_s"))
    return busy_s / (busy_s + idle_s), took / len(units)


def spot_nodes(
    num_actors: int = 1000, unit_s: float = 30.0, lost_per_hour: float = 0.5, restart_s: float = 180.0
) -> dict[str, Any]:
    """Spot GPUs: each is taken `lost_per_hour` times an hour, and its successor needs `restart_s` to be up.

    `waste`: engine seconds that went into units which did not come back, over those of units that did.
    """
    draw = random.Random(0)
    events = SimulatedEvents()
    actors = [SimulatedActor(lambda number: unit_s, restart_s=restart_s) for _ in range(num_actors)]
    hours, preempted = 2.0, 0
    units = round(num_actors * hours * 3600 / unit_s)

    def take(actor: SimulatedActor) -> None:
        nonlocal preempted
        preempted += 1
        events.crash(actor, preempted=True)
        events.after(draw.expovariate(lost_per_hour / 3600), lambda: take(actor))

    for actor in actors:
        events.after(draw.expovariate(lost_per_hour / 3600), lambda actor=actor: take(actor))
    pool = Pool("renderer", actors, events, LIMITS)
    done = sum(result is not None for result in pool.map((number,) for number in range(units)))
    useful_s, lost_s = (sum(getattr(actor, name) for actor in actors) for name in ("busy_s", "lost_s"))
    up_s = num_actors * events.now() - preempted * restart_s
    return {
        "actors": num_actors,
        "unit_s": unit_s,
        "lost_per_actor_hour": lost_per_hour,
        "preempted": preempted,
        "units": units,
        "units_given_up": units - done,
        "waste": round(lost_s / useful_s, 5),
        "efficiency_while_up": round(useful_s / up_s, 4),
    }
