"""The figures of a study as tables: medians over seeds with their range, and the ratios that were asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from jobs.sweep.run import Figures
from jobs.sweep.study import Cell, Study

Measured = Mapping[Cell, Figures]

SHOWN = (
    "frechet",
    "frechet_infinity",
    "frechet_leading",
    "kid",
    "cmmd",
    "precision",
    "recall",
    "coverage",
    "vendi",
    "clip_score",
)


@dataclass(frozen=True)
class Summary:
    """A figure over the seeds of a group."""

    median: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        spread = f" ({self.low:.4g} to {self.high:.4g})" if self.seeds > 1 else ""
        return f"{self.median:.4g}{spread}"


def judges_of(measured: Measured) -> list[str]:
    """The judges' models, in the order in which they were asked for."""
    return list(dict.fromkeys(result["judge"]["model"] for figures in measured.values() for result in figures.release))


def value_of(result: Mapping[str, object], metric: str) -> float:
    """A metric of one evaluation; not a number where it was skipped."""
    metrics: Sequence[Mapping[str, object]] = result["metrics"]  # type: ignore[assignment]
    return next((float(m["value"]) for m in metrics if m["name"] == metric), math.nan)  # type: ignore[arg-type]


def summarise(values: Sequence[float]) -> Summary:
    return Summary(median(values), min(values), max(values), len(values))


def by_group(measured: Measured, judge: str, metric: str) -> dict[str, Summary]:
    """The release's metric of each group of cells that differ in their seed alone."""
    found: dict[str, list[float]] = {}
    for cell, figures in measured.items():
        for result in figures.release:
            if result["judge"]["model"] == judge:
                found.setdefault(cell.group, []).append(value_of(result, metric))
    return {group: summarise(values) for group, values in found.items()}


def yardsticks(measured: Measured, judge: str, metrics: Sequence[str]) -> dict[str, float]:
    """What as many real images get."""
    for figures in measured.values():
        for result in figures.release:
            if result["judge"]["model"] == judge:
                return {m["name"]: m["yardstick"] for m in result["metrics"] if m["name"] in metrics}
    return {}


def report(study: Study, measured: Measured, missing: Sequence[str], command: str) -> str:
    """Markdown."""
    return "\n".join(_lines(study, measured, missing, command)) + "\n"


def _lines(study: Study, measured: Measured, missing: Sequence[str], command: str) -> Iterator[str]:
    yield "# Methods compared"
    yield ""
    yield "INTERNAL: figures against private images, not differentially private. Looking at them is recorded in the"
    yield "ledger. Images that no certificate covers (epsilon inf, captions, dp-finetune) stay in their run's folder."
    yield ""
    yield f"Made by `{command}`; medians over seeds (range in brackets), of {study.size} images each."
    if missing:
        yield ""
        yield f"NOT THERE YET: {', '.join(missing)}."
    for number, judge in enumerate(judges_of(measured)):
        yield ""
        yield f"## Judged by {judge}{_interest(measured, judge)}"
        if number == 0 and study.ratios:
            yield ""
            yield from _ratios(study, by_group(measured, judge, study.metric))
        yield ""
        yield from _table(measured, judge)


def _interest(measured: Measured, judge: str) -> str:
    """Whether the judge also voted; a captioner does where its captions do."""
    voted: set[str] = set()
    others: set[str] = set()
    for cell, figures in measured.items():
        for result in figures.release:
            if result["judge"]["model"] == judge:
                (voted if result["independent"] is False else others).add(cell.group)
    if not voted:
        return ""
    if not others:
        return ", WHICH VOTED"
    how, fewer = ("in", voted) if len(voted) <= len(others) else ("but in", others)
    return f", WHICH VOTED {how} {', '.join(sorted(fewer, key=_order))}"


def ratio_of(groups: Mapping[str, Summary], of: str, over: str) -> float | None:
    """The ratio of two medians; None while one is missing."""
    return groups[of].median / groups[over].median if of in groups and over in groups else None


def _ratios(study: Study, groups: Mapping[str, Summary]) -> Iterator[str]:
    yield f"| {study.metric} | of medians | goal | |"
    yield "|---|---|---|---|"
    for name, asked in study.ratios.items():
        ratio = ratio_of(groups, asked.of, asked.over)
        goal = "" if asked.at_most is None else f"<= {asked.at_most:g}"
        if ratio is None:
            yield f"| {name} | not there yet | {goal} | |"
        else:
            met = "" if asked.at_most is None else "met" if ratio <= asked.at_most else "NOT MET"
            yield f"| {name} | {ratio:.3f} | {goal} | {met} |"


def _table(measured: Measured, judge: str) -> Iterator[str]:
    columns = {metric: by_group(measured, judge, metric) for metric in SHOWN}
    yield f"| | seeds | {' | '.join(SHOWN)} |"
    yield f"|---|---|{'---|' * len(SHOWN)}"
    real = yardsticks(measured, judge, SHOWN)
    groups = sorted(columns[SHOWN[0]], key=_order)
    for group in groups:
        values = " | ".join(_shown(columns[metric][group]) for metric in SHOWN)
        yield f"| {group} | {columns[SHOWN[0]][group].seeds} | {values} |"
    yield f"| real images | | {' | '.join(f'{real[m]:.4g}' if m in real else '' for m in SHOWN)} |"


def _shown(summary: Summary) -> str:
    return "" if math.isnan(summary.median) else str(summary)


def _order(group: str) -> tuple[bool, str, float]:
    """Ablations last, and a series by its epsilon."""
    series, _, epsilon = group.partition("@")
    return ": " in series, series, float(epsilon or 0)
