"""Reads rate limits from the headers of an answer. Imports no heavy library."""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST_PAUSE_S = 120.0
"""Longest pause that is observed; the official client has the same limit for `Retry-After`."""

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def pause_after(status: int, headers: Mapping[str, str]) -> float:
    """Seconds during which, by the headers of an answer, no request should be sent; 0 if there is no limit.

    They come from `x-ratelimit-remaining-*: 0` with `x-ratelimit-reset-*` (OpenAI sends 1s, 6m0s or 20ms, others plain
    seconds), and from `retry-after` of an answer with status 429.
    """
    waits = [
        duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if re.fullmatch(r"0+|-\d+", headers.get(f"x-ratelimit-remaining-{what}", ""))
    ]
    if status == 429:
        waits.append(duration_s(headers.get("retry-after", "")))
    longest = max(waits, default=0.0)
    # The client gives up a request with a longer pause, and reports it.
    return longest if longest <= LONGEST_PAUSE_S else 0.0


def duration_s(text: str) -> float:
    """Seconds in `6m0.5s`, `20ms` or `1.5`; 0 for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+", text):
        return 0.0
    return sum(float(number) * _UNIT_S[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))
