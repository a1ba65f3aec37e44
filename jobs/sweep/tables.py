"""The figures of a study as tables: medians over seeds with their range, and the ratios that were asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from jobs.sweep.run import Figures
from jobs.sweep.study import Cell, Study
from spti_ray.release.gap import CLOSED_BY, FROM, TO, UNDEFINED, share_closed

Measured = Mapping[Cell, Figures]

_MOST_NAMED = 12
"""Missing cells that are named one by one."""

SHOWN = (
    "kid",
    "cmmd",
    "frechet_infinity",
    "frechet",
    "frechet_leading",
    "precision",
    "recall",
    "coverage",
    "vendi",
    "clip_score",
)
"""The unbiased figures first: of a few hundred images the plain Fréchet distance is mostly how few they are."""

OF_LABELS = "downstream_ratio"
"""Shown where it was measured: what a release's labelled images teach a classifier, over what as many real ones do."""


@dataclass(frozen=True)
class Summary:
    """A figure over the seeds of a group. `low` and `high` are not numbers where no range is defined."""

    median: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.median:.4g} (no range: of some seeds no gap is defined)"
        spread = f" ({self.low:.4g} to {self.high:.4g})" if self.seeds > 1 or self.low < self.high else ""
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
    return {group: summarise(values) for group, values in _values(measured, judge, metric).items()}


def _values(measured: Measured, judge: str, metric: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for cell, figures in measured.items():
        for result in figures.release:
            if result["judge"]["model"] == judge:
                found.setdefault(cell.group, []).append(value_of(result, metric))
    return found


def yardsticks(measured: Measured, judge: str, metrics: Sequence[str]) -> dict[str, float]:
    """What as many real images get."""
    for figures in measured.values():
        for result in figures.release:
            if result["judge"]["model"] == judge:
                return {m["name"]: m["yardstick"] for m in result["metrics"] if m["name"] in metrics}
    return {}


def gap_closed(measured: Measured, judge: str, metric: str) -> dict[str, Summary]:
    """By group, the closed share of the reachable gap: (generation 0 - its distance) / (generation 0 - captions).

    The median is that of the three medians. The range is over every choice of one seed of each: generation 0 and
    captions vary by their seeds too. It is not a number if of some choice no gap is defined.

    Returns: nothing where captions are not nearer than generation 0, or one of the two is missing: it is not defined.
    """
    values = _values(measured, judge, metric)
    starts, ends = values.get(FROM, []), values.get(TO, [])
    if not starts or not ends:
        return {}
    found: dict[str, Summary] = {}
    for group, of in values.items():
        middle = share_closed(median(starts), median(ends), median(of))
        if middle is None:
            continue
        if group in (FROM, TO):  # by definition, whatever the seeds
            found[group] = Summary(middle, middle, middle, len(of))
            continue
        shares = [share_closed(start, end, value) for start in starts for end in ends for value in of]
        known = [share for share in shares if share is not None]
        whole = len(known) == len(shares)
        found[group] = Summary(middle, min(known) if whole else math.nan, max(known) if whole else math.nan, len(of))
    return found


def not_closed(measured: Measured, judge: str, metric: str) -> str:
    """Why no share of the gap is defined, in words; empty if it is."""
    groups = by_group(measured, judge, metric)
    if missing := [end for end in (FROM, TO) if end not in groups or math.isnan(groups[end].median)]:
        return f"{' and '.join(f'`{end}`' for end in missing)} {'is' if len(missing) == 1 else 'are'} missing"
    return "" if groups[TO].median < groups[FROM].median else UNDEFINED


def report(study: Study, measured: Measured, missing: Sequence[Cell], command: str) -> str:
    """Markdown. `missing`: cells of the study that were not measured yet."""
    return "\n".join(_lines(study, measured, missing, command)) + "\n"


def _lines(study: Study, measured: Measured, missing: Sequence[Cell], command: str) -> Iterator[str]:
    yield "# Methods compared"
    yield ""
    yield "INTERNAL: figures against private images, not differentially private. Looking at them is recorded in the"
    yield "ledger. Images that no certificate covers (epsilon inf, captions, dp-finetune) stay in their run's folder."
    yield ""
    yield f"Made by `{command}`; medians over seeds (range in brackets), of {study.size} images each."
    if missing:
        yield ""
        yield f"NOT THERE YET: {', '.join(_named(missing, measured))}."
    if study.sets:
        yield from _over_sets(study, measured)
    for subject in study.sets or ("",):
        if subject:
            yield ""
            yield f"# {subject}"
        yield from _of_set(study, of_set(measured, subject))


def _named(missing: Sequence[Cell], measured: Measured) -> list[str]:
    """The cells by name or, where they are many, how many of each group."""
    if len(missing) <= _MOST_NAMED:
        return [cell.folder for cell in missing]
    there = Counter(cell.group for cell in measured)
    of_group = Counter(cell.group for cell in missing)
    return [f"{count} of {count + there[group]} cells of {group}" for group, count in of_group.items()]


def of_set(measured: Measured, subject: str) -> dict[Cell, Figures]:
    """What was measured on one private set."""
    return {cell: figures for cell, figures in measured.items() if cell.subject == subject}


def _of_set(study: Study, measured: Measured) -> Iterator[str]:
    for number, judge in enumerate(judges_of(measured)):
        yield ""
        yield f"## Judged by {judge}{_interest(measured, judge)}"
        yield ""
        yield from _table(measured, judge)
        yield ""
        yield from _closed(measured, judge)
        # Last, since a study's goals may be set in a distance that depends on the number of images.
        if number == 0 and study.ratios:
            yield ""
            yield from _ratios(study, by_group(measured, judge, study.metric))


def _over_sets(study: Study, measured: Measured) -> Iterator[str]:
    """By the first judge, the median over the sets of the closed share of the gap."""
    for judge in judges_of(measured)[:1]:
        yield ""
        yield f"## All sets together, judged by {judge}"
        yield ""
        yield "Medians over the sets (range in brackets) of the share of the gap between"
        yield f"`{FROM}` (0) and `{TO}` (1) that is closed, on the sets where it is defined."
        for metric in CLOSED_BY:
            for subject in study.sets:
                if why := not_closed(of_set(measured, subject), judge, metric):
                    yield ""
                    yield f"By {metric} not defined on {subject}: {why}."
        yield ""
        yield f"| | {' | '.join(f'by {metric} | sets' for metric in CLOSED_BY)} |"
        yield f"|---|{'---|' * 2 * len(CLOSED_BY)}"
        closed = {
            metric: [gap_closed(of_set(measured, subject), judge, metric) for subject in study.sets]
            for metric in CLOSED_BY
        }
        groups = {group for found in closed.values() for shares in found for group in shares} - {FROM, TO}
        for group in sorted(groups, key=_order):
            row: list[str] = []
            for metric in CLOSED_BY:
                medians = [shares[group].median for shares in closed[metric] if group in shares]
                row += (
                    [str(Summary(median(medians), min(medians), max(medians), len(medians))), str(len(medians))]
                    if medians
                    else ["not defined", "0"]
                )
            yield f"| {group} | {' | '.join(row)} |"


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
    columns = {metric: by_group(measured, judge, metric) for metric in (*SHOWN, OF_LABELS)}
    of_labels = any(not math.isnan(of.median) for of in columns[OF_LABELS].values())
    shown = (*SHOWN, OF_LABELS) if of_labels else SHOWN
    yield f"| | seeds | {' | '.join(shown)} |"
    yield f"|---|---|{'---|' * len(shown)}"
    real = yardsticks(measured, judge, shown)
    groups = sorted(columns[SHOWN[0]], key=_order)
    for group in groups:
        values = " | ".join(_shown(columns[metric][group]) for metric in shown)
        yield f"| {group} | {columns[SHOWN[0]][group].seeds} | {values} |"
    yield f"| real images | | {' | '.join(f'{real[m]:.4g}' if m in real else '' for m in shown)} |"
    if of_labels:
        yield ""
        yield f"`{OF_LABELS}`: the accuracy of a classifier (logistic regression on the judge's standardised features)"
        yield "trained on a release and its labels, over that of one trained on as many real images."


def _closed(measured: Measured, judge: str) -> Iterator[str]:
    shares = {metric: gap_closed(measured, judge, metric) for metric in CLOSED_BY}
    for metric in CLOSED_BY:
        if why := not_closed(measured, judge, metric):
            yield f"By {metric} no share of the gap is defined: {why}."
            yield ""
    defined = [metric for metric in CLOSED_BY if shares[metric]]
    if not defined:
        return
    yield f"Share of the gap between `{FROM}` (0) and `{TO}` (1) that is closed (in brackets over every choice of"
    yield "one seed of each of the three):"
    yield ""
    yield f"| | {' | '.join(f'by {metric}' for metric in defined)} |"
    yield f"|---|{'---|' * len(defined)}"
    for group in sorted({group for metric in defined for group in shares[metric]} - {FROM, TO}, key=_order):
        yield f"| {group} | {' | '.join(str(shares[metric].get(group, '')) for metric in defined)} |"


def _shown(summary: Summary) -> str:
    return "" if math.isnan(summary.median) else str(summary)


def _order(group: str) -> tuple[bool, str, float]:
    """Ablations last, and a series by its epsilon."""
    series, _, epsilon = group.partition("@")
    return ": " in series, series, float(epsilon or 0)
