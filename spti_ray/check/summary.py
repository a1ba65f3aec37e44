"""What the page of `spti check` says, from what the shards wrote down. PRIVATE, all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spti_ray.private.survey import PICTURES, Surveyed
from spti_ray.types import SINGLE_LABEL

NAMES = 200
"""So many names are shown of each problem; the rest are counted."""

_SIZES = 20
_LARGEST_GROUPS = 10


@dataclass(frozen=True)
class Listed:
    """Records under one heading: how many, and the names of the first."""

    heading: str
    count: int
    names: tuple[str, ...]

    @property
    def more(self) -> int:
        """How many are not named."""
        return self.count - len(self.names)


@dataclass(frozen=True)
class LabelRow:
    """One configured label. `units`: records or groups that can vote under it."""

    label: str
    records: int
    voting: int
    units: int


@dataclass(frozen=True)
class Groups:
    """Groups whose records can vote.

    `largest`: (group, records). `mixed`: groups with several labels, each with its records by label, the first of which
    is the one that it votes under; `unheard`: their records under other labels, which do not count.
    """

    count: int
    median: int
    largest: tuple[tuple[str, int], ...]
    mixed: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    unheard: int


@dataclass(frozen=True, repr=False)
class Summary:
    """All that is on the page."""

    records: int
    voting: int
    labels: tuple[LabelRow, ...]
    unlisted: tuple[tuple[str, int], ...]
    problems: tuple[Listed, ...]
    groups: Groups | None
    duplicates: tuple[Listed, ...]
    duplicated: int
    across_groups: int
    sizes: tuple[tuple[str, int], ...]
    other_sizes: int
    smallest: str
    largest: str
    formats: tuple[tuple[str, int], ...]
    deep: Listed
    pictures: tuple[tuple[str, list[Surveyed]], ...]


def summarise(records: Iterable[Surveyed], label_names: Sequence[str], grouped: bool) -> Summary:
    """Sum up what was surveyed.

    Args:
        records: of all shards.
        label_names: the configured labels, or ("all",) for none.
        grouped: whether the privacy unit is the group.
    """
    everyone = sorted(records, key=lambda record: record.index)
    voting = [record for record in everyone if record.problem is None]
    seen = [record for record in everyone if record.pixels]
    sizes = Counter(f"{record.width} x {record.height}" for record in seen).most_common()
    by_area = sorted(seen, key=lambda record: record.width * record.height)
    duplicates = _duplicates(seen)
    groups = _groups(voting) if grouped else None
    return Summary(
        records=len(everyone),
        voting=len(voting),
        labels=tuple(_label_row(name, everyone, grouped) for name in label_names),
        unlisted=tuple(
            Counter(record.unlisted or "(none)" for record in everyone if _is_unlisted(record)).most_common()
        ),
        problems=_problems(everyone),
        groups=groups,
        duplicates=tuple(_listed(f"{len(same)} times", same) for same in duplicates[:NAMES]),
        duplicated=sum(len(same) - 1 for same in duplicates),
        across_groups=sum(len({record.group for record in same}) > 1 for same in duplicates) if grouped else 0,
        sizes=tuple(sizes[:_SIZES]),
        other_sizes=len(sizes[_SIZES:]),
        smallest=f"{by_area[0].width} x {by_area[0].height}" if by_area else "",
        largest=f"{by_area[-1].width} x {by_area[-1].height}" if by_area else "",
        formats=tuple(Counter(record.format for record in seen).most_common()),
        deep=_listed("deep", [record for record in seen if record.is_deep]),
        pictures=_pictures(everyone),
    )


def _listed(heading: str, records: Sequence[Surveyed]) -> Listed:
    return Listed(heading, len(records), tuple(record.name for record in records[:NAMES]))


def _is_unlisted(record: Surveyed) -> bool:
    return record.label is None


def _label_row(name: str, everyone: Sequence[Surveyed], grouped: bool) -> LabelRow:
    of_label = [record for record in everyone if record.label == name]
    voting = [record for record in of_label if record.problem is None]
    if not grouped:
        return LabelRow(name, len(of_label), len(voting), len(voting))
    first: dict[str | None, str | None] = {}
    for record in everyone:
        if record.problem is None:
            first.setdefault(record.group, record.label)
    return LabelRow(name, len(of_label), len(voting), sum(label == name for label in first.values()))


def _problems(everyone: Sequence[Surveyed]) -> tuple[Listed, ...]:
    by_problem: dict[str, list[Surveyed]] = {}
    for record in everyone:
        if record.problem is not None:
            by_problem.setdefault(record.problem, []).append(record)
    return tuple(
        _listed(problem, found) for problem, found in sorted(by_problem.items(), key=lambda item: -len(item[1]))
    )


def _groups(voting: Sequence[Surveyed]) -> Groups:
    by_group: dict[str, list[Surveyed]] = {}
    for record in voting:
        by_group.setdefault(record.group or "", []).append(record)
    sizes = sorted(((name, len(found)) for name, found in by_group.items()), key=lambda item: (-item[1], item[0]))
    mixed: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    for name, found in sorted(by_group.items()):
        labels = Counter(record.label or "" for record in found)  # in the order in which they come
        if len(labels) > 1:
            mixed.append((name, tuple(labels.items())))
    return Groups(
        count=len(sizes),
        median=sizes[len(sizes) // 2][1] if sizes else 0,
        largest=tuple(sizes[:_LARGEST_GROUPS]),
        mixed=tuple(mixed),
        unheard=sum(count for _, labels in mixed for _, count in labels[1:]),
    )


def _duplicates(seen: Sequence[Surveyed]) -> list[list[Surveyed]]:
    """Records whose decoded images are equal, the largest sets first."""
    by_pixels: dict[str, list[Surveyed]] = {}
    for record in seen:
        by_pixels.setdefault(record.pixels, []).append(record)
    return sorted((same for same in by_pixels.values() if len(same) > 1), key=len, reverse=True)


def _pictures(everyone: Sequence[Surveyed]) -> tuple[tuple[str, list[Surveyed]], ...]:
    """Small pictures by label, as many of each."""
    by_label: dict[str, list[Surveyed]] = {}
    for record in everyone:
        if record.thumbnail:
            label = record.label or ""
            by_label.setdefault("" if label == SINGLE_LABEL else label, []).append(record)
    of_each = max(1, PICTURES // max(1, len(by_label)))
    return tuple((label, _spread(found, of_each)) for label, found in sorted(by_label.items()))


def _spread(records: Sequence[Surveyed], most: int) -> list[Surveyed]:
    """At most `most` of them, from all of their order."""
    step = max(1, -(-len(records) // most))
    return list(records[::step])
