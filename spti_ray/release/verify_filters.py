"""Checks what a manifest says of the filters of its release, as far as the images themselves can show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from spti_ray.config import FiltersConfig
from spti_ray.config.filters import DuplicateFilter
from spti_ray.public.filtered import Filtered, FiltersUnreadable, filtered_in
from spti_ray.public.image_measures import ImageMeasures, measure
from spti_ray.public.near_duplicates import NearDuplicates
from spti_ray.public.replacements import replaced_times
from spti_ray.release.checks import Check
from spti_ray.step_progress import Told

_THREADS = 4


def check_filters(release: Path, table: pa.Table, told: Told) -> Iterator[Check]:
    """Check a manifest's account of its filters; nothing where it has none.

    Blank images and those whose thumbnails are alike are looked for again. What embedders saw is not: they are not
    here.

    Args:
        release: the folder with `images/`.
        table: its manifest.
        told: is told how far it is.
    """
    try:
        filtered = filtered_in(table)
    except FiltersUnreadable as error:
        yield Check("release.filters", False, str(error))
        return
    if filtered is None:
        return
    filters = FiltersConfig.model_validate(filtered.settings)
    if "candidate_id" not in table.column_names:
        yield Check("release.filters", False, "the manifest does not say which text an image is of")
        return
    files: list[str] = table["file"].to_pylist()
    if problem := _wrong_counts(filtered, filters, files):
        yield Check("release.filters", False, problem)
        return
    accepted = [at for at, file in enumerate(files) if file not in filtered.kept]
    by_pixels = bool(filters.blank or (filters.duplicate and filters.duplicate.max_difference is not None))
    wrong = _not_acceptable(release, table, accepted, filters, told) if by_pixels else []
    detail = f"{', '.join(filters.on)}: {len(accepted)} images are accepted"
    if filtered.kept:
        detail += f", {len(filtered.kept)} stay although none of theirs was"
    if filters.embeds_images:
        detail += "; what the embedders saw is not checked again: they are not here"
    yield Check("release.filters", not wrong, f"not acceptable: {wrong[:3]}" if wrong else detail)


def _wrong_counts(filtered: Filtered, filters: FiltersConfig, files: Sequence[str]) -> str:
    """What its counts and the files contradict; empty if nothing."""
    if unknown := sorted(set(filtered.kept) - set(files)):
        return f"names {unknown[0][:80]!r}, which is none of the release's images"
    replaced = [
        number
        for file in files
        if file not in filtered.kept and (number := replaced_times(file, filtered.asked_for)) > 0
    ]
    by_seed = sum(number <= filters.other_seeds for number in replaced)
    said = (filtered.other_seeds, filtered.other_texts, filtered.missing)
    found = (by_seed, len(replaced) - by_seed, max(0, filtered.asked_for - len(files)))
    if said != found:
        return f"says {said} images from other seeds, of next texts and missing, and the files say {found}"
    return ""


def _not_acceptable(
    release: Path, table: pa.Table, accepted: Sequence[int], filters: FiltersConfig, told: Told
) -> list[str]:
    """Images that a filter would refuse. One that can't be read is left to the check of hashes."""
    rows: list[dict[str, Any]] = table.select(["file", "candidate_id"]).take(pa.array(accepted, pa.int64())).to_pylist()
    most = filters.duplicate.max_difference if filters.duplicate else None
    index = None if most is None else NearDuplicates(DuplicateFilter(max_difference=most))
    wrong: list[str] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        measured = threads.map(_measured, [release / row["file"] for row in rows])
        for number, (row, found) in enumerate(zip(rows, measured, strict=True)):
            told("checking filters", number, len(rows))
            if found is None:
                continue
            if filters.blank and found.deviation <= filters.blank.max_deviation:
                wrong.append(f"{row['file']} is blank")
            if index is not None:
                if near := index.find(row["candidate_id"], found.thumbnail, None):
                    wrong.append(f"{row['file']} repeats {near['of']}")
                index.add(row["file"], row["candidate_id"], found.thumbnail, None)
    return wrong


def _measured(path: Path) -> ImageMeasures | None:
    try:
        return replace(measure(path.read_bytes()), png=b"")  # thousands may wait to be compared
    except (OSError, ValueError):
        return None
