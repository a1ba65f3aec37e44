"""What one attempt at a run does, and how long each part takes: told once, written by `timings` and by `timeline`.

Of engines only work on public texts and images is counted. How many batches of private work there are tells how many
private records there are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

MOST_SPANS = 100_000
"""Batches that are remembered one by one, the latest ones: some 10 MB of timeline."""


@dataclass
class RoleTotal:
    """What the engines of one role did.

    Args:
        busy_s: busy seconds, summed over actors.
        items: texts, images or embeddings.
        tokens: output tokens.
        dollars: what an endpoint takes for them.
    """

    busy_s: float = 0.0
    items: int = 0
    tokens: int = 0
    dollars: float = 0.0


@dataclass(frozen=True)
class Span:
    """Something that began and ended, in seconds since the start of the trace; `row` is whose it is."""

    row: str
    name: str
    begin: float
    end: float


class Trace:
    """Collects during one attempt at a run."""

    def __init__(self, most_spans: int = MOST_SPANS) -> None:
        self.totals: dict[str, RoleTotal] = {}
        self.phases_s: dict[str, float] = {}
        """Wall seconds of each phase of the run."""
        self.stages: deque[Span] = deque(maxlen=most_spans)
        self.batches: deque[Span] = deque(maxlen=most_spans)
        self.starts: list[Span] = []
        """What engines did until they were there, a row each."""
        self.peak_memory_bytes = 0
        self.tokens_in_all = 0
        self.dollars_in_all = 0.0
        """What the writer wrote and cost over all attempts at the run, answers that were of no use included."""
        self._started, self._started_at = time.monotonic(), time.time()
        self.first_text_s: float | None = None
        """Seconds from the start to the writer's first answers that were not on record already."""
        self._stage: tuple[str, int | None, float] | None = None

    @property
    def wall_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def batch(self, role: str, items: int, busy_s: float, tokens: int = 0, dollars: float = 0.0) -> None:
        """A batch of a role has just come back.

        Args:
            role: whose engine made it.
            items: what it is made of.
            busy_s: for how long the engine was at work on it; 0 if it was not run.
            tokens: that were written.
            dollars: that were paid.
        """
        total = self.totals.setdefault(role, RoleTotal())
        total.busy_s += busy_s
        total.items += items
        total.tokens += tokens
        total.dollars += dollars
        if busy_s > 0:
            now = self.wall_s
            if role == "writer" and self.first_text_s is None:
                self.first_text_s = now
            self.batches.append(Span(role, f"{items} item{'s' if items != 1 else ''}", now - busy_s, now))

    def start(self, role: str, marks: Sequence[tuple[str, float]]) -> None:
        """How an engine of a role came to be.

        Args:
            role: its role.
            marks: what was done when, in seconds since the epoch by the clock of its machine; each took from the one
                before it on.
        """
        number = len({span.row for span in self.starts if span.row.startswith(f"{role} ")}) + 1
        row = f"{role} {number} starts"
        for (_, begin), (name, end) in pairwise(marks):
            # A process may have waited for its actor since before the run.
            begin, end = (max(0.0, when - self._started_at) for when in (begin, end))
            self.starts.append(Span(row, name, begin, end))

    def stage(self, name: str, generation: int | None = None) -> None:
        """The driver begins a stage, and so ends the one before.

        The stages of all generations add up to a phase of the run.
        """
        self.end_stage()
        self._stage = name, generation, self.wall_s

    def end_stage(self) -> None:
        """The driver's stage, if there is one, is over."""
        if self._stage is None:
            return
        (name, generation, begin), now = self._stage, self.wall_s
        self._stage = None
        self.stages.append(Span("driver", name if generation is None else f"{name} {generation}", begin, now))
        self._add_to_phase(name, now - begin)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the wall seconds of the block to a phase of the run; on the timeline it is where no stage is.

        Within a stage of the phase's own name nothing is added: the stage has these seconds.
        """
        begin, within = self.wall_s, self._stage
        try:
            yield
        finally:
            if within is None:  # else that is on the timeline
                self.stages.append(Span("driver", phase, begin, self.wall_s))
            if within is None or within[0] != phase:
                self._add_to_phase(phase, self.wall_s - begin)

    def memory(self, used_bytes: int) -> None:
        """So much is in use now."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, used_bytes)

    def in_all(self, tokens: int, dollars: float) -> None:
        """What is on record of the writer over all attempts; if records were lost, at least what this one saw."""
        writer = self.totals.get("writer", RoleTotal())
        self.tokens_in_all = max(tokens, writer.tokens)
        self.dollars_in_all = max(dollars, writer.dollars)

    def _add_to_phase(self, name: str, seconds: float) -> None:
        self.phases_s[name] = self.phases_s.get(name, 0.0) + seconds
