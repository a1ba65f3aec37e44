"""Checks what an export holds against the manifest beside it: images by their hashes, and all that it says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from spti_ray.config.parsing import parse_yaml
from spti_ray.io.files import IMAGE_SUFFIXES, is_inside
from spti_ray.public.croissant import CROISSANT
from spti_ray.public.release import CERTIFICATE, MANIFEST
from spti_ray.release.checks import Check
from spti_ray.release.export.contents import ExportDamaged, format_of, held_in
from spti_ray.release.export.formats import class_names
from spti_ray.release.export.released import CARD
from spti_ray.release.verify_croissant import check_croissant
from spti_ray.step_progress import Told, untold

_READ_BY_LOADERS = IMAGE_SUFFIXES | {
    *(".parquet", ".arrow", ".tar", ".zip", ".gz", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml"),
}
"""Endings of files that some loader of a whole folder takes for data, or for what data there are."""

_OF_DATA = {"configs", "dataset_info"}
"""Keys at the head of a card by which `load_dataset` reads other files, columns or names of classes."""


See = Callable[[str, bytes], None]
"""Is shown each image: its name for people, and its bytes."""


def unseen(name: str, image: bytes) -> None:
    """A `See` that looks at nothing."""


def check_export(release: Path, table: pa.Table, told: Told = untold, see: See = unseen) -> Iterator[Check]:
    """Check the data of an export, and that no other data are beside them.

    Args:
        release: The export's folder, with the manifest and a folder `data`.
        table: The manifest.
        told: Is told how far it is.
        see: Is shown each image.
    """
    data = release / "data"
    try:
        if not is_inside(release, "data"):
            raise ExportDamaged(f"{data}: leads out of the export")
        name = format_of(data)
        known = {_name_in(name, row): row for row in table.to_pylist()}
        wrong: list[str] = []
        for number, held in enumerate(held_in(data, class_names(table))):
            told("checking images", number, table.num_rows)
            see(held.name, held.image if isinstance(held.image, bytes) else b"")
            row = known.pop(held.name, None)
            if row is None or not _is_image_of(held.image, row) or not _says(held.said, row, name):
                wrong.append(held.name[:80])
    except ExportDamaged as error:
        yield Check("release.data", False, str(error))
        return
    holds = not wrong and not known
    detail = f"altered, there twice or not in the manifest: {wrong[:3]}, missing: {sorted(known)[:3]}"
    all_of_it = f"{table.num_rows} images and what is said of them, as in the manifest"
    yield Check(f"release.data as {name}", holds, all_of_it if holds else detail)
    if holds:
        yield from check_croissant(release, table, name)
    allowed = {release / MANIFEST, release / CERTIFICATE, release / CROISSANT}
    beside = sorted(
        path.relative_to(release).as_posix()
        for path in release.rglob("*")
        if path.suffix.lower() in _READ_BY_LOADERS and path not in allowed and data not in path.parents
    )
    if (release / CARD).is_file() and _tells_loaders(release / CARD):
        beside.append(f"what {CARD} tells loaders")
    detail = f"not of the export: {beside[:3]}" if beside else "none"
    yield Check("release.other data beside it", not beside, detail)


def _tells_loaders(card: Path) -> bool:
    """Whether a card says what its data are. One that can't be read may."""
    try:
        text = card.read_text(encoding="utf-8-sig").lstrip()
        head = parse_yaml(text.split("\n---")[0]) if text.startswith("---") else None
    except (OSError, ValueError):
        return True
    return head is not None and (not isinstance(head, Mapping) or bool(_OF_DATA & head.keys()))


def _name_in(format: str, row: Mapping[str, Any]) -> str:
    """The name by which an export of this format has the image of a manifest's row."""
    path = PurePosixPath(row["file"])
    return f"{path.stem.replace('.', '-')}{path.suffix.lower()}" if format == "webdataset" else path.name


def _is_image_of(image: Any, row: Mapping[str, Any]) -> bool:
    return isinstance(image, bytes) and hashlib.sha256(image).hexdigest() == row["sha256"]


def _says(said: Sequence[tuple[str, Any]], row: Mapping[str, Any], format: str) -> bool:
    """Whether an export says of an image what the manifest does; class folders have the label alone."""
    if not {name for name, _ in said} >= ({"label"} if format == "classfolders" else row.keys()):
        return False
    return all(name in row and type(value) is type(row[name]) and value == row[name] for name, value in said)
