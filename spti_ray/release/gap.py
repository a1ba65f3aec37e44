"""How much of the reachable gap a run closes: from what no vote gives to what the private captions themselves give.

Generation 0 (`method: random`) is 0 and renders of the private captions (`method: captions`) are 1; both use the same
writer or captioner and renderer as the run between them. INTERNAL: it is made of figures on private images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FROM, TO = "random", "captions"
"""The methods that close nothing of the gap, and all of it."""

CLOSED_BY = ("kid", "frechet_infinity")
"""The distances that tell it: those that do not depend on the number of images."""

UNDEFINED = "renders of captions are not nearer than generation 0"

_Z = 1.959964
_COMPARED_AT = ("num_generated", "num_reference", "seed")


class Share(NamedTuple):
    """A closed share, without unit, with its 95 % interval; None where the figures have none or the gap may be 0."""

    value: float
    low: float | None = None
    high: float | None = None


def share_closed(start: float, end: float, value: float) -> float | None:
    """`1 - (value - end) / (start - end)` for distances: 0 at `start`, 1 at `end`, above 1 if nearer than `end`.

    Returns: None if `end` is not below `start`, or one of them is not a number: there is no gap to close.
    """
    if not end < start or math.isnan(value):
        return None
    # One division, so that the ends are 0 and 1 exactly.
    return (start - value) / (start - end)


def estimated_share(start: Mapping[str, Any], end: Mapping[str, Any], of: Mapping[str, Any]) -> Share | None:
    """The share by three metrics of `spti evaluate`, each with `value`, and `low` and `high` or None.

    An evaluation keeps no resamples. So the interval comes from the three figures' own 95 % intervals, by the delta
    method: they are taken as normal and independent. They share their real images, whose part in the errors has the
    same sign in all three and partly cancels, so the interval is rather too wide. It tells nothing of other seeds of
    the runs. Where the gap itself can't be told from 0 there is none.
    """
    value = share_closed(start["value"], end["value"], of["value"])
    if value is None:
        return None
    errors = [_error(metric) for metric in (start, end, of)]
    if None in errors:
        return Share(value)
    of_start, of_end, of_value = (error or 0.0 for error in errors)
    gap = start["value"] - end["value"]
    if gap <= _Z * math.hypot(of_start, of_end):
        return Share(value)
    # The derivatives of (start - value) / (start - end).
    error = math.hypot((1 - value) * of_start, value * of_end, of_value) / gap
    return Share(value, value - _Z * error, value + _Z * error)


def _error(metric: Mapping[str, Any]) -> float | None:
    low, high = metric.get("low"), metric.get("high")
    return None if low is None or high is None else (high - low) / (2 * _Z)


class Evaluated(NamedTuple):
    """A run's settings (flat), and one result of `spti evaluate` of its release."""

    settings: Mapping[str, Any]
    result: Mapping[str, Any]


def same_measure(one: Evaluated, two: Evaluated) -> bool:
    """Whether two results are of the same private set, judge, halves and number of images.

    Results of earlier versions do not say which records they are measured against; there the configured path counts.
    """
    if any(one.result[name] != two.result[name] for name in (*_COMPARED_AT, "judge")):
        return False
    sets = one.result.get("reference"), two.result.get("reference")
    return sets[0] == sets[1] if all(sets) else one.settings.get("data.path") == two.settings.get("data.path")


def gaps_closed(sides: Mapping[str, Evaluated], others: Sequence[Evaluated]) -> dict[str, dict[str, Any]]:
    """By distance, the share that each side closes.

    Args:
        sides: The compared runs by their short names.
        others: More runs, among which the ends may be.

    Returns:
        For each distance of `CLOSED_BY` either `{side: {value, low, high}}`, without sides that are not measured as the
        ends are, or `{"undefined": why}`. Empty if no two ends are there that are measured alike.
    """
    everyone = [*sides.values(), *others]
    ends = [
        (start, end)
        for start in everyone
        for end in everyone
        if (start.settings.get("method"), end.settings.get("method")) == (FROM, TO) and same_measure(start, end)
    ]
    if not ends:
        return {}
    start, end = ends[0]
    found: dict[str, dict[str, Any]] = {}
    for name in CLOSED_BY:
        first, last = _metric(start, name), _metric(end, name)
        if first is None or last is None:
            continue
        if share_closed(first["value"], last["value"], 0.0) is None:
            found[name] = {"undefined": UNDEFINED}
            continue
        found[name] = {}
        for side, run in sides.items():
            metric = _metric(run, name)
            share = estimated_share(first, last, metric) if metric is not None and same_measure(run, start) else None
            if share is not None:
                # The ends are 0 and 1 by definition, not by a measurement.
                at_an_end = run is start or run is end
                found[name][side] = (Share(share.value) if at_an_end else share)._asdict()
    return found


def _metric(of: Evaluated, name: str) -> Mapping[str, Any] | None:
    return next((metric for metric in of.result["metrics"] if metric["name"] == name), None)
