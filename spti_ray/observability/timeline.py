"""What a run did when, as a Chrome trace: open the file in ui.perfetto.dev or chrome://tracing.

Public batches only. Still internal: engines that serve shards have gaps in it whose length depends on private records.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from spti_ray.io.files import write_atomic
from spti_ray.observability.trace import Span, Trace


def rows(trace: Trace) -> dict[str, list[Span]]:
    """By row: the driver's stages, how each engine started, and of each role as many rows as it had batches at once."""
    found: dict[str, list[Span]] = {"driver": list(trace.stages)} if trace.stages else {}
    for span in trace.starts:
        found.setdefault(span.row, []).append(span)
    for span in sorted(trace.batches, key=lambda span: (span.begin, span.end)):
        for number in itertools.count(1):
            row = found.setdefault(f"{span.row} {number}", [])
            if not row or row[-1].end <= span.begin:
                row.append(span)
                break
    return dict(sorted(found.items(), key=lambda item: (item[0] != "driver", item[0])))


def write_timeline(trace: Trace, path: Path) -> None:
    """Write Chrome's trace event format (complete events, microseconds), for the file's owner only."""
    events: list[dict[str, object]] = []
    for number, (row, spans) in enumerate(rows(trace).items()):
        events.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": row}})
        for span in spans:
            when = {"ts": round(span.begin * 1e6), "dur": round((span.end - span.begin) * 1e6)}
            events.append({"ph": "X", "name": span.name, "pid": 1, "tid": number, **when})
    write_atomic(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n", mode=0o600)
