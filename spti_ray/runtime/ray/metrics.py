"""A run's metrics for Prometheus, published through Ray while it runs, by the driver's process alone.

Metrics are read by people who may not know how many private records there are. So only pools report their work, which
is on public batches; shards report nothing. Engines of PRIVATE_ROLES work for shards between two public batches: how
long a public batch waits there, and whether its actor dies, depends on private records. Of these roles only work that
was done is published, with the seconds measured inside the actor, and no load, batch duration, failure or loss.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from spti_ray.config import Role
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES
from spti_ray.runtime.scheduling.meter import Load, RoleMeter

PREFIX = "spti_"
"""Ray puts `ray_` in front of it, and `_total` behind counters that do not end so."""

_Table = dict[str, tuple[str, tuple[str, ...]]]
"""Name of a metric: its meaning, and its tags besides `run`."""

COUNTERS: _Table = {
    "units_total": ("Public batches by outcome; failed: tries that raised.", ("role", "outcome")),
    "retries_total": ("Public batches tried again after they failed or lost their actor.", ("role",)),
    "lost_actors_total": ("Actors lost, by cause.", ("role", "cause")),
    "images_total": ("Synthetic images rendered or embedded.", ("role",)),
    "output_tokens_total": ("Tokens written.", ("role",)),
    "actor_seconds_total": ("Busy seconds of actors, on public batches that were done.", ("role",)),
    "gpu_seconds_total": ("Busy seconds times the GPUs of an actor, on public batches that were done.", ("role",)),
}

GAUGES: _Table = {
    "queue_units": ("Public batches that wait for an actor.", ("role",)),
    "in_flight": ("Public batches at actors.", ("role",)),
    "actors": ("Actors; asked: up or not, up: that may be given batches.", ("role", "state")),
    "generation": ("The generation in hand, from 1; 0 before the first.", ()),
    "epsilon_spent": ("Certified for the run's charged queries.", ()),
    "epsilon_planned": ("What the run was planned for.", ()),
}

HISTOGRAMS: _Table = {
    "unit_seconds": ("Seconds of a batch in its actor, of roles with public input only.", ("role",)),
}

_BOUNDARIES = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0]

_REPEAT_S = 5.0
"""Ray forgets a gauge that was not set for two of its reports, which are 10 s apart."""


class Metrics:
    """The metrics of one attempt at a run. Within its context gauges are set again and again, or Ray forgets them.

    Args:
        run: the run's id, a tag of every metric.
        epsilon_planned: what the run was planned for.
    """

    def __init__(self, run: str, epsilon_planned: float) -> None:
        def make(kind: type[Any], table: _Table, **more: Any) -> dict[str, Any]:
            return {
                name: kind(PREFIX + name, text, tag_keys=("run", *tags), **more).set_default_tags({"run": run})
                for name, (text, tags) in table.items()
            }

        self._counters: dict[str, Counter] = make(Counter, COUNTERS)
        self._gauges: dict[str, Gauge] = make(Gauge, GAUGES)
        self._histograms: dict[str, Histogram] = make(Histogram, HISTOGRAMS, boundaries=_BOUNDARIES)
        self._values: dict[str, float] = {"generation": 0, "epsilon_spent": 0.0, "epsilon_planned": epsilon_planned}
        self._loads: dict[str, Callable[[], Load]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="metrics", daemon=True)

    def __enter__(self) -> Metrics:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def of(self, role: Role, num_gpus: float) -> RoleMeter:
        """The meter of a role's pool, whose actors have `num_gpus` each."""
        return RoleMeter(self, role, num_gpus, serves_shards=role in PRIVATE_ROLES)

    def generation(self, number: int) -> None:
        """The generation in hand, counted from 0."""
        self._values["generation"] = number + 1

    def spent(self, epsilon: float) -> None:
        """The odometer: public, as the ledger is."""
        self._values["epsilon_spent"] = epsilon

    def watch(self, role: str, load: Callable[[], Load]) -> None:
        """Publish a pool's load from now on."""
        self._loads[role] = load

    def count(self, name: str, by: float = 1.0, **tags: str) -> None:
        """Add to a counter."""
        if by > 0:  # Ray refuses 0
            self._counters[name].inc(by, tags=tags)

    def took(self, role: str, seconds: float) -> None:
        """A batch's duration."""
        self._histograms["unit_seconds"].observe(seconds, tags={"role": role})

    def publish_gauges(self) -> None:
        """Set all gauges to what they are now."""
        for name, value in tuple(self._values.items()):
            self._gauges[name].set(value)
        for role, load in tuple(self._loads.items()):
            now = load()
            self._gauges["actors"].set(now.asked, tags={"role": role, "state": "asked"})
            self._gauges["actors"].set(now.up, tags={"role": role, "state": "up"})
            self._gauges["queue_units"].set(now.queue, tags={"role": role})
            self._gauges["in_flight"].set(now.in_flight, tags={"role": role})

    def _repeat(self) -> None:
        self.publish_gauges()
        while not self._stop.wait(_REPEAT_S):
            self.publish_gauges()
