"""Where the time went: busy seconds, units and tokens of each stage, and the peak memory of all processes.

Only work on public texts and images is counted. Units of private work would tell how many private records there are.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from spti_ray.io.files import write_atomic

_SAMPLE_EVERY_S = 2.0


@dataclass
class StageTime:
    """Busy seconds of a stage's actors (summed over actors), its units, output tokens and price in US dollars."""

    busy_s: float = 0.0
    units: int = 0
    tokens: int = 0
    dollars: float = 0.0


@dataclass
class Timings:
    """Collects during one `spti run`."""

    stages: dict[str, StageTime] = field(default_factory=dict)
    phases_s: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    peak_memory_bytes: int = 0
    tokens_in_all: int = 0
    dollars_in_all: float = 0.0
    """What the writer wrote and cost over all attempts at the run, answers that were of no use included."""
    _lap: tuple[str, float] | None = field(default=None, repr=False)

    def add(self, stage: str, busy_s: float, units: int = 0, tokens: int = 0, dollars: float = 0.0) -> None:
        total = self.stages.setdefault(stage, StageTime())
        total.busy_s += busy_s
        total.units += units
        total.tokens += tokens
        total.dollars += dollars

    def in_all(self, tokens: int, dollars: float) -> None:
        """What is on record of the writer over all attempts; if records were lost, at least what this one saw."""
        writer = self.stages.get("writer", StageTime())
        self.tokens_in_all = max(tokens, writer.tokens)
        self.dollars_in_all = max(dollars, writer.dollars)

    def phase(self, name: str, seconds: float) -> None:
        """Wall seconds of a phase of the run."""
        self.phases_s[name] = self.phases_s.get(name, 0.0) + seconds

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the wall seconds of the block to phase `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phase(name, time.perf_counter() - start)

    def lap(self, name: str | None) -> None:
        """End the phase that the last call began, if any, and begin phase `name`, if any."""
        now = time.perf_counter()
        if self._lap is not None:
            self.phase(self._lap[0], now - self._lap[1])
        self._lap = None if name is None else (name, now)

    @property
    def wall_s(self) -> float:
        return time.perf_counter() - self.started

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(stage, busy seconds, units, rate) of the public stages, as text."""
        rows: list[tuple[str, str, str, str]] = []
        for name, stage in self.stages.items():
            rate = f"{stage.units / stage.busy_s:.1f}/s" if stage.busy_s else "-"
            if stage.tokens and stage.busy_s:
                rate += f", {stage.tokens / stage.busy_s:.0f} output tokens/s"
            if stage.dollars:
                rate += f", ${stage.dollars:.4g}"
            rows.append((name, f"{stage.busy_s:.1f}", str(stage.units), rate))
        return rows

    def write(self, path: Path, extra: dict[str, Any]) -> None:
        """Write all of it (internal)."""
        document = {
            "wall_s": round(self.wall_s, 2),
            "peak_memory_bytes": self.peak_memory_bytes,
            "writer_in_all": {"output_tokens": self.tokens_in_all, "dollars": round(self.dollars_in_all, 6)},
            "phases_s": {name: round(value, 2) for name, value in self.phases_s.items()},
            "stages": {
                name: {
                    "busy_s": round(stage.busy_s, 3),
                    "units": stage.units,
                    "units_per_s": round(stage.units / stage.busy_s, 3) if stage.busy_s else None,
                    "output_tokens": stage.tokens,
                    "output_tokens_per_s": round(stage.tokens / stage.busy_s, 2) if stage.busy_s else None,
                    "dollars": round(stage.dollars, 6),
                }
                for name, stage in self.stages.items()
            },
            **extra,
        }
        write_atomic(path, json.dumps(document, indent=2) + "\n", mode=0o600)


class MemorySampler:
    """Samples the memory of this process and of everything that it started, until stopped.

    Sums the proportional set size (shared pages are counted once), or the resident size where the kernel does not
    say. Only processes of this machine are seen.
    """

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(_SAMPLE_EVERY_S):
            total = 0
            for process in [own, *own.children(recursive=True)]:
                total += _memory_of(process)
            self._timings.peak_memory_bytes = max(self._timings.peak_memory_bytes, total)


def _memory_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        try:
            return int(process.memory_info().rss)
        except psutil.Error:
            return 0
