"""What a run did when, as a Chrome trace: open the file in ui.perfetto.dev or chrome://tracing.

Public batches only. Still internal: engines that serve shards have gaps in it whose length depends on private records.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from spti_ray.io.files import write_atomic

MOST = 100_000
"""Units that are remembered, the latest ones: some 10 MB of trace."""


@dataclass(frozen=True)
class Span:
    """Seconds since the start."""

    row: str
    name: str
    begin: float
    end: float


class Timeline:
    """Collects during one attempt."""

    def __init__(self, most: int = MOST) -> None:
        self._zero = time.monotonic()
        self._spans: deque[Span] = deque(maxlen=most)
        self._phases: deque[Span] = deque(maxlen=most)
        self._lap: tuple[str, float] | None = None

    def add(self, role: str, items: int, busy_s: float) -> None:
        """A batch of a role has just come back, after so many seconds in its engine; 0: it was not run."""
        if busy_s > 0:
            now = time.monotonic() - self._zero
            self._spans.append(Span(role, f"{items} item{'s' if items != 1 else ''}", now - busy_s, now))

    def lap(self, name: str | None) -> None:
        """End the driver's phase that the last call began, if any, and begin phase `name`, if any."""
        now = time.monotonic() - self._zero
        if self._lap is not None:
            self._phases.append(Span("driver", self._lap[0], self._lap[1], now))
        self._lap = None if name is None else (name, now)

    def spans(self) -> dict[str, list[Span]]:
        """By row: the driver's phases, and for each role as many rows as it had batches at the same time."""
        rows: dict[str, list[Span]] = {"driver": list(self._phases)} if self._phases else {}
        for span in sorted(self._spans, key=lambda span: (span.begin, span.end)):
            for number in itertools.count(1):
                row = rows.setdefault(f"{span.row} {number}", [])
                if not row or row[-1].end <= span.begin:
                    row.append(span)
                    break
        return dict(sorted(rows.items(), key=lambda item: (item[0] != "driver", item[0])))

    def write(self, path: Path) -> None:
        """Write the trace, for its owner only (Chrome's trace event format, complete events, microseconds)."""
        events: list[dict[str, object]] = []
        for number, (row, spans) in enumerate(self.spans().items()):
            events.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": row}})
            for span in spans:
                when = {"ts": round(span.begin * 1e6), "dur": round((span.end - span.begin) * 1e6)}
                events.append({"ph": "X", "name": span.name, "pid": 1, "tid": number, **when})
        write_atomic(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n", mode=0o600)
