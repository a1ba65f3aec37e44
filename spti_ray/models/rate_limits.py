"""What the headers of an answer say of rate limits. Imports no heavy library."""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST_PAUSE_S = 120.0
"""As the official client's own limit on `Retry-After`."""

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def pause_after(status: int, headers: Mapping[str, str]) -> float:
    """Seconds for which an answer says that no request should follow.

    From `x-ratelimit-remaining-*: 0` with `x-ratelimit-reset-*` (as OpenAI sends them: 1s, 6m0s, 20ms; or plain
    seconds), and from `retry-after` of a 429.
    """
    waits = [
        duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if re.fullmatch(r"0+|-\d+", headers.get(f"x-ratelimit-remaining-{what}", ""))
    ]
    if status == 429:
        waits.append(duration_s(headers.get("retry-after", "")))
    longest = max(waits, default=0.0)
    # What is longer is for the client, which gives such a request up, to tell.
    return longest if longest <= LONGEST_PAUSE_S else 0.0


def duration_s(text: str) -> float:
    """Seconds in `6m0.5s`, `20ms` or `1.5`; 0 for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+", text):
        return 0.0
    return sum(float(number) * _UNIT_S[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))
