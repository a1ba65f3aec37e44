"""A run folder with its ledger, from which any number of drivers can start, and a count of what they drew."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spti_ray.dp import artifact
from spti_ray.dp.calibration import NoisePlan
from spti_ray.dp.entries import Entry
from spti_ray.dp.gate import Gate, Reservation
from spti_ray.dp.history import slots_of
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import NoiseSource
from spti_ray.types import CountArray, NoisyHistogram
from spti_ray.votes import Query, Votes

IDS = tuple(f"g00-{i:05d}" for i in range(6))
# Written out: importing the accountant would take most of the time of a driver that is there to crash.
PLAN = NoisePlan(
    sigma=4.0,
    epsilon=3.0,
    delta=1e-5,
    achieved_epsilon=2.26,
    replace_one_epsilon=3.34,
    votes_per_record=1,
    generations=3,
    spare_slots=2,
    attacker_advantage=0.22,
)
QUERY = Query("r", 0, "ab")


class CountingNoise:
    """Records for which slot of `run` it is asked, durably, and only then draws: a killed process's draws count too.

    The slot is the last that is reserved: drivers here measure what they reserved before they reserve more. The noise
    has the operating system's entropy, so that two draws differ, but not OpenDP's exact shape, which takes a while to
    import.
    """

    private = True
    name = "counted"

    def __init__(self, log: Path, ledger: Ledger, run: str) -> None:
        self.log, self.ledger, self.run = log, ledger, run

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        slot = len(slots_of(self.ledger.entries(), self.run)) - 1
        with open(self.log, "a") as file:
            file.write(f"{slot}\n")
            file.flush()
            os.fsync(file.fileno())
        return counts_K + np.rint(np.random.default_rng().normal(0.0, sigma, len(counts_K))).astype(np.int64)


class NoNoise:
    private = False
    name = "SIMULATED: none"

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        return counts_K.copy()


class Bench:
    """The folder `root` holds the run; its ledger is at `place`, a folder or a URL."""

    def __init__(self, root: Path, place: str | Path, kind: type[Gate] = Gate) -> None:
        self.root, self.place, self.kind = root, place, kind
        self.generations, self.log = root / "run" / "generations", root / "draws"
        self._observer = self.ledger()
        self._observer.register(None, PLAN.delta)

    def ledger(self) -> Ledger:
        return Ledger(self.place, "ds")

    def gate(
        self, noise: NoiseSource | None = None, fault: Callable[[str], None] | None = None, run: str = "r"
    ) -> Gate:
        ledger = self.ledger()
        noise = noise or CountingNoise(self.log, ledger, run)
        return self.kind(ledger, PLAN, run, self.generations, noise, "config", fault=fault)

    def opened(self, noise: NoiseSource | None = None, fault: Callable[[str], None] | None = None) -> Gate:
        gate = self.gate(noise, fault)
        gate.open()
        return gate

    def entries(self) -> list[Entry]:
        return self._observer.entries()

    def kinds(self) -> Counter[str]:
        return Counter(entry.kind for entry in self.entries())

    def drawn_slots(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    def draws(self) -> int:
        return len(self.drawn_slots())

    def artifacts(self, generation: int = 0) -> list[Path]:
        return artifact.complete(self.generations, generation)

    def all_artifacts(self) -> dict[Path, bytes]:
        """Every complete artifact and its bytes."""
        folders = artifact.generations(self.generations)
        return {path: path.read_bytes() for generation in folders for path in self.artifacts(generation)}


def shard(shard_id: int, counts: list[int] | None = None, query: Query = QUERY, max_total: int = 100) -> Votes:
    return Votes(query, shard_id, np.array(counts or [1, 2, 3, 4, 5, 6], dtype=np.int64), max_total)


def vote(reservation: Reservation) -> list[Votes]:
    """What one shard answers to whatever was reserved."""
    return [shard(0, query=reservation.query)]


def run_generations(gate: Gate, generations: int = PLAN.generations) -> list[NoisyHistogram]:
    """What a driver does with an open gate: each generation's histogram, replayed if there is one, else measured."""
    histograms: list[NoisyHistogram] = []
    for generation in range(generations):
        histogram = gate.committed(generation)
        if histogram is None:
            reservation = gate.reserve(generation, f"candidates of {generation}", IDS)
            histogram = gate.measure(reservation, vote(reservation), 1)
        histograms.append(histogram)
    return histograms
