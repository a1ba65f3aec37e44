"""How far a run is: what the progress display shows, and what other processes may read. Public values only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from spti_ray.figures import at_least, clock
from spti_ray.io.files import write_atomic
from spti_ray.observability.pool_reading import PoolReading

_WRITTEN_EVERY_S = 5.0


@dataclass(frozen=True)
class Reading:
    """How far a run is."""

    stage: str = "starting"
    generation: int | None = None
    """Counted from 0."""
    generations: int = 0
    done: int = 0
    """Texts written and images rendered."""
    total: int = 0
    rate: float = 0.0
    """Steps per second since the first ones."""
    elapsed_s: float = 0.0
    epsilon: tuple[float, float] | None = None
    """Spent, and planned."""
    pools: tuple[PoolReading, ...] = ()

    @property
    def where(self) -> str:
        if self.generation is None:
            return self.stage
        return f"generation {self.generation + 1}/{self.generations}: {self.stage}"

    @property
    def amiss(self) -> str:
        """The pools that keep a run waiting: those whose first engine loads, and those that have lost some."""
        return "; ".join(pool.words for pool in self.pools if pool.is_loading or pool.lost)

    @property
    def left(self) -> str:
        if not self.rate or not self.total:
            return "--:--"
        return clock(max(0, round((self.total - self.done) / max(self.rate, 1e-6))))

    @property
    def elapsed(self) -> str:
        return clock(round(self.elapsed_s))

    @property
    def figures(self) -> str:
        spent = ""
        if self.epsilon:
            spent = f", epsilon {at_least(self.epsilon[0])} of {at_least(self.epsilon[1])} spent"
        return f"{self.done}/{max(self.done, self.total)} texts and images, {self.rate:.1f}/s, ETA {self.left}{spent}"

    @property
    def short_figures(self) -> str:
        spent = f" ε {at_least(self.epsilon[0])}/{at_least(self.epsilon[1])}" if self.epsilon else ""
        return f"{self.done}/{max(self.done, self.total)} {self.rate:.1f}/s ETA {self.left}{spent}"

    @property
    def lines(self) -> list[str]:
        """All of it for people, the engines of a role in a line."""
        pools = [words for pool in self.pools if (words := pool.words)]
        return [f"{self.elapsed} {self.where}" + (f" | {self.figures}" if self.done else ""), *pools]


@contextmanager
def written_down(reading: Callable[[], Reading], path: Path) -> Iterator[None]:
    """Within, a reading is in the file `path` every few seconds, for `spti status` and `spti show`."""
    ended = threading.Event()

    def write() -> None:
        while True:
            with suppress(OSError):  # a full disk is told by what the run itself writes
                write_atomic(path, json.dumps(asdict(reading())))
            if ended.wait(_WRITTEN_EVERY_S):
                return

    thread = threading.Thread(target=write, name="written progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def progress_file(run: Path) -> Path:
    """Where the driver of the run in a folder writes down how far it is."""
    return run / "internal" / "progress.json"


def read_reading(run: Path) -> Reading | None:
    """What `written_down` wrote last for the run in a folder; None if there is none, or it is of another build."""
    try:
        fields = json.loads(progress_file(run).read_text(encoding="utf-8"))
        pools = tuple(PoolReading(**pool) for pool in fields.pop("pools"))
        epsilon = fields.pop("epsilon")
        return Reading(**fields, pools=pools, epsilon=epsilon and (float(epsilon[0]), float(epsilon[1])))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
