"""A study's pictures: the metric over epsilon, over generations, and of each ablation's answers."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs.sweep.study import Study
from jobs.sweep.tables import Measured, Summary, by_group, summarise, value_of, yardsticks

_COLOURS = ("#2a6fb0", "#c8641e", "#3d8f5b", "#8a5aa8", "#b23a48", "#6b6b6b")
_INK, _MUTED = "#222222", "#9a9a9a"


def curve(study: Study, measured: Measured, judge: str) -> bytes:
    """The privacy-utility curve as a PNG: one line for each method over epsilon, levels of those that have none."""
    figure, axes = _figure(6.4, 4.0)
    groups = by_group(measured, judge, study.metric)
    finite = [epsilon for epsilon in study.epsilons if math.isfinite(epsilon)]
    at = {epsilon: position for position, epsilon in enumerate(study.epsilons)}
    for colour, method in zip(_COLOURS, study.methods, strict=False):
        points = {at[e]: groups[f"{method}@{e:g}"] for e in study.epsilons if f"{method}@{e:g}" in groups}
        _line(axes, points, colour, method)
    for style, method in zip((":", "--", "-."), study.once, strict=False):
        if method in groups:
            axes.axhline(groups[method].median, color=_MUTED, linewidth=1.2, linestyle=style, label=method)
    _real(axes, study, measured, judge)
    axes.set_xticks(range(len(study.epsilons)), [*(f"{e:g}" for e in finite), *(["inf"] * (len(at) - len(finite)))])
    axes.set_xlabel("epsilon (inf: not private)")
    axes.set_ylabel(f"{study.metric}, judged by {judge}")
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def generations(study: Study, measured: Measured, judge: str) -> bytes:
    """The metric of the candidates of each generation, method by method, at the epsilon of the ablations."""
    figure, axes = _figure(6.4, 4.0)
    for colour, method in zip(_COLOURS, study.methods, strict=False):
        found: dict[int, list[float]] = {}
        for cell, figures in measured.items():
            if cell.group == f"{method}@{study.ablations_at:g}":
                of_judge = [result for result in figures.generations if result["judge"]["model"] == judge]
                for number, result in enumerate(of_judge):
                    found.setdefault(number, []).append(value_of(result, study.metric))
        points = {number: summarise(values) for number, values in found.items()}
        _line(axes, points, colour, f"{method}, epsilon {study.ablations_at:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("generation whose candidates are compared")
    axes.set_ylabel(f"{study.metric}, judged by {judge}")
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def ablations(study: Study, measured: Measured, judge: str) -> bytes:
    """The metric of each answer beside the usual settings."""
    groups = by_group(measured, judge, study.metric)
    usual = f"spti@{study.ablations_at:g}"
    names = [usual] + [
        f"{question}: {answer}@{study.ablations_at:g}"
        for question, answers in study.ablations.items()
        for answer in answers
    ]
    names = [name for name in names if name in groups]
    figure, axes = _figure(6.4, 0.9 + 0.32 * max(1, len(names)))
    for row, name in enumerate(reversed(names)):
        summary = groups[name]
        axes.plot([summary.low, summary.high], [row, row], color=_MUTED, linewidth=2)
        axes.plot(summary.median, row, "o", color=_COLOURS[name == usual])
    if usual in groups:
        axes.axvline(groups[usual].median, color=_MUTED, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(names)), [name.partition("@")[0] for name in reversed(names)])
    axes.set_xlabel(f"{study.metric} at epsilon {study.ablations_at:g}, judged by {judge}")
    return _png(figure)


def _line(axes: Axes, points: Mapping[int, Summary], colour: str, label: str) -> None:
    if not points:
        return
    order = sorted(points)
    axes.plot(order, [points[i].median for i in order], "o-", color=colour, label=label, markersize=4)
    axes.fill_between(order, [points[i].low for i in order], [points[i].high for i in order], color=colour, alpha=0.15)


def _real(axes: Axes, study: Study, measured: Measured, judge: str) -> None:
    real = yardsticks(measured, judge, [study.metric]).get(study.metric)
    if real is not None:
        axes.axhline(real, color=_INK, linewidth=0.8, label="as many real images")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
