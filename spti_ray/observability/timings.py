"""Where the time of a run went, in sums: for `internal/timings.json` and the summary at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spti_ray.io.files import write_atomic
from spti_ray.observability.trace import Trace


def rows(trace: Trace) -> list[tuple[str, str, str, str]]:
    """(role, busy seconds, items, rate) of each role that had public work, as text."""
    found: list[tuple[str, str, str, str]] = []
    for role, total in trace.totals.items():
        rate = f"{total.items / total.busy_s:.1f}/s" if total.busy_s else "-"
        if total.tokens and total.busy_s:
            rate += f", {total.tokens / total.busy_s:.0f} output tokens/s"
        if total.dollars:
            rate += f", ${total.dollars:.4g}"
        found.append((role, f"{total.busy_s:.1f}", str(total.items), rate))
    return found


def write_timings(trace: Trace, path: Path, extra: dict[str, Any]) -> None:
    """Write the sums, and `extra` beside them, for the file's owner only."""
    document = {
        "wall_s": round(trace.wall_s, 2),
        "first_text_s": None if trace.first_text_s is None else round(trace.first_text_s, 2),
        "peak_memory_bytes": trace.peak_memory_bytes,
        "writer_in_all": {"output_tokens": trace.tokens_in_all, "dollars": round(trace.dollars_in_all, 6)},
        "phases_s": {name: round(value, 2) for name, value in trace.phases_s.items()},
        "stages": {
            role: {
                "busy_s": round(total.busy_s, 3),
                "units": total.items,
                "units_per_s": round(total.items / total.busy_s, 3) if total.busy_s else None,
                "output_tokens": total.tokens,
                "output_tokens_per_s": round(total.tokens / total.busy_s, 2) if total.busy_s else None,
                "dollars": round(total.dollars, 6),
            }
            for role, total in trace.totals.items()
        },
        **extra,
    }
    write_atomic(path, json.dumps(document, indent=2) + "\n", mode=0o600)
