"""How many renders of a release were not accepted, for which reason, and what became of their places."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from spti_ray.config import Config, FiltersConfig
from spti_ray.config.parsing import parse_json
from spti_ray.public.replacements import replaced_times
from spti_ray.types import ReleaseItem

FILTERS_KEY = b"spti_ray.filters"
"""Key of the manifest's Parquet metadata that holds the filters and these counts as JSON, where there were filters."""


class FiltersUnreadable(ValueError):
    """The manifest's account of its filters can't be read; one line."""


@dataclass(frozen=True)
class Filtered:
    """The filters of a release, and what they did. All of it is public.

    `settings`: of `release.filters`, as JSON values. `asked_for`: images that the release was to have. `rejected`:
    renders by the reason for which they were not accepted. `not_made`: renders that failed or that a safety checker
    flagged. `other_seeds`, `other_texts`: places that an image from another seed, or of a next text, has taken.
    `kept`: images that stay although they were not accepted, with the reason, by file. `missing`: empty places.
    """

    settings: Mapping[str, Any]
    asked_for: int
    rejected: Mapping[str, int]
    not_made: int
    other_seeds: int
    other_texts: int
    kept: Mapping[str, str]
    missing: int

    @classmethod
    def of(cls, config: Config, items: Sequence[ReleaseItem], rejections: Mapping[str, str]) -> Filtered | None:
        """Count.

        Args:
            config: the run's configuration.
            items: of the release.
            rejections: the reason by the file that a render would have been.

        Returns:
            The counts; None of a release without filters.
        """
        filters, asked_for = config.release.filters, config.release.images
        if filters is None:
            return None
        files = [item.file for item in items]
        kept = {file: rejections[file] for file in files if file in rejections}
        times = {file: replaced_times(file, asked_for) for file in files}
        replaced = [number for file, number in times.items() if file not in kept and number]
        before = (
            f"images/{int(file[7:-4]) % asked_for + number * asked_for:05d}.png"
            for file, last in times.items()
            for number in range(last)
        )
        return cls(
            filters.model_dump(mode="json"),
            asked_for,
            dict(sorted(Counter(rejections.values()).items())),
            sum(file not in rejections for file in before),
            sum(number <= filters.other_seeds for number in replaced),
            sum(number > filters.other_seeds for number in replaced),
            dict(sorted(kept.items())),
            max(0, asked_for - len(files)),
        )

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """For people."""
        reasons = ", ".join(f"{count} {name}" for name, count in self.rejected.items()) or "none"
        known = ", ".join(name for name in self.settings if isinstance(self.settings[name], Mapping))
        line = f"filters: {known}; {sum(self.rejected.values())} render(s) were not accepted ({reasons})"
        if self.not_made:
            line += f" and {self.not_made} could not be made"
        became = (
            (self.other_seeds, "from another seed"),
            (self.other_texts, "of a next text of the label"),
            (self.missing, "missing"),
        )
        if any(count for count, _ in became):
            line += "; images in their places: " + ", ".join(f"{count} {what}" for count, what in became if count)
        yield line
        if self.kept:
            why = ", ".join(f"{count} {name}" for name, count in sorted(Counter(self.kept.values()).items()))
            yield (
                f"filters: WARNING: {len(self.kept)} of {self.asked_for} images stay although no render of theirs was "
                f"accepted ({why}); the manifest names them"
            )


def with_filtered(table: pa.Table, filtered: Filtered | None) -> pa.Table:
    """A manifest with the account of its filters; as it is without any."""
    if filtered is None:
        return table
    said = {FILTERS_KEY: json.dumps(filtered.document(), sort_keys=True).encode()}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **said})


def filtered_in(table: pa.Table) -> Filtered | None:
    """The account of its filters that a manifest gives; None if it has none.

    Raises:
        FiltersUnreadable: it is not of the form that this build writes.
    """
    said = (table.schema.metadata or {}).get(FILTERS_KEY)
    if said is None:
        return None
    try:
        document = parse_json(said)
        found = Filtered(**document)
        FiltersConfig.model_validate(found.settings)
    except (ValueError, TypeError):
        raise FiltersUnreadable("the manifest's account of its filters can't be read; restore the release") from None
    counts = (found.asked_for, found.not_made, found.other_seeds, found.other_texts, found.missing)
    whole = all(type(count) is int and count >= 0 for count in (*counts, *_values(found.rejected)))
    if not whole or not all(isinstance(reason, str) for reason in _values(found.kept)):
        raise FiltersUnreadable("the manifest's account of its filters has counts that are none; restore the release")
    return found


def _values(mapping: object) -> list[Any]:
    return list(mapping.values()) if isinstance(mapping, Mapping) else [None]
