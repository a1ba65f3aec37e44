"""The figures of an evaluation as lines for the terminal; those that the number of images does not bias come first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spti_ray.evaluate.result import STATEMENT, EvaluationResult, Metric
from spti_ray.io.text_table import Column, text_table

_LEADING = ("kid", "frechet_infinity", "cmmd")
"""What the number of images does not bias, in the order in which a set is judged by it."""


def ordered(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics with those first that the number of images does not bias."""
    last = len(_LEADING)
    return sorted(metrics, key=lambda metric: _LEADING.index(metric.name) if metric.name in _LEADING else last)


def lead_line(result: EvaluationResult) -> str:
    """One line: the figures by which sets of any size can be compared."""
    kid, extrapolated = result["kid"], result["frechet_infinity"]
    interval = f" [{_interval(kid)}]" if kid.low is not None else ""
    return (
        f"KID {kid.value:.4g}{interval}, real images {kid.yardstick:.2g}; extrapolated Fréchet distance "
        f"{extrapolated.value:.4g}, real images {extrapolated.yardstick:.2g} (lower is better)"
    )


def table_lines(results: Sequence[EvaluationResult]) -> Iterator[str]:
    """All figures of each judge's only result, or one line for each of its several results."""
    yield STATEMENT
    for judge in dict.fromkeys(result.judge["model"] for result in results):
        of_judge = [result for result in results if result.judge["model"] == judge]
        yield from _one_result(of_judge[0]) if len(of_judge) == 1 else _several_results(of_judge)


_METRICS = (
    *(Column(min_width=20), Column("value", is_number=True, min_width=9), Column("95 % interval", min_width=18)),
    *(Column("yardstick", is_number=True, min_width=9), Column("what the yardstick is")),
)
_SKIPPED = (Column(min_width=20), Column(is_number=True, min_width=9), Column())


def _one_result(result: EvaluationResult) -> Iterator[str]:
    yield _heading(result)
    yield lead_line(result)
    rows: list[list[str]] = []
    metrics = ordered(result.metrics)
    for metric in metrics:
        interval = _interval(metric)
        yardstick = "" if metric.yardstick is None else f"{metric.yardstick:.4g}"
        rows.append([metric.name, f"{metric.value:.4g}", interval, yardstick, metric.yardstick_is])
    headings, *lines = text_table(_METRICS, rows)
    yield headings
    for line, metric in zip(lines, metrics, strict=True):
        yield f"{line} ({metric.better}{' is better' if metric.better in {'lower', 'higher'} else ''})"
    yield from text_table(_SKIPPED, ((name, "-", why) for name, why in result.skipped.items()))
    yield from _classifier(result)
    for warning in result.warnings:
        yield f"note: {warning}"


_COLUMNS = (*_LEADING, "frechet", "precision", "recall", "coverage", "vendi", "clip_score")
_OF_LABELS = ("downstream_ratio",)
"""Columns that are there only if some result has them."""


def _several_results(of_judge: Sequence[EvaluationResult]) -> Iterator[str]:
    yield _heading(of_judge[0])
    found = {metric.name for result in of_judge for metric in result.metrics}
    columns = (*_COLUMNS, *(name for name in _OF_LABELS if name in found))
    rows = [[result.name, *(_value(result, name) for name in columns)] for result in of_judge]
    floors = {metric.name: metric.yardstick for metric in of_judge[0].metrics}
    rows.append(["yardstick", *(f"{floors.get(name) or float('nan'):.4g}" for name in columns)])
    figures = (Column(name, is_number=True, min_width=14) for name in columns)
    yield from text_table((Column(min_width=24), *figures), rows)
    yield from _classifier(of_judge[0])
    for warning in dict.fromkeys(warning for result in of_judge for warning in result.warnings):
        yield f"note: {warning}"


def _value(result: EvaluationResult, name: str) -> str:
    if name in result.skipped:
        return "-"
    metric = result[name]
    # What a set is judged by first has its interval; of all columns they would fill the line.
    interval = f" [{_interval(metric)}]" if name == _COLUMNS[0] and metric.low is not None else ""
    return f"{metric.value:.4g}{interval}"


def _interval(metric: Metric) -> str:
    return "" if metric.low is None else f"{metric.low:.4g} to {metric.high:.4g}"


def _classifier(result: EvaluationResult) -> Iterator[str]:
    """Which classifier the downstream figures are of, and what it was tested on."""
    yield from (f"downstream: {metric.about}" for metric in result.metrics if metric.name == "downstream_accuracy")


def _heading(result: EvaluationResult) -> str:
    voted = {True: "did not vote", False: "VOTED", None: "who voted is not known"}[result.independent]
    return (
        f"{result.name}: {result.num_generated} of {result.num_given} images against {result.num_reference} real ones, "
        f"judged by {result.judge['model']} ({voted}; {result.dimension} dimensions), seed {result.seed}"
    )
