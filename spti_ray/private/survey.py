# pyright: strict
"""What the owner of the private images may want to know about each record, for the page of `spti check`.

PRIVATE, all of it: names, labels, groups, sizes and small pictures. A shard writes it into one file that only the owner
may read, and tells nobody. Nothing here takes part in a vote.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as _arrow_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as _parquet_untyped  # pyright: ignore[reportMissingTypeStubs]
from PIL import Image

from spti_ray.io.files import atomic_file, private_folder
from spti_ray.private.decode import pixel_format
from spti_ray.private.dicom import dicom_format, is_dicom
from spti_ray.private.record import Record
from spti_ray.types import ImageArray

# PyArrow ships no types.
arrow: Any = _arrow_untyped
parquet: Any = _parquet_untyped

THUMBNAIL = 96
"""Longer side of a small picture, in pixels."""

PICTURES = 144
"""Small pictures that a shard keeps, as many of each label."""


@dataclass(frozen=True, repr=False)
class Surveyed:
    """PRIVATE: one record. Without an image, `width` and `height` are 0 and `pixels` is empty.

    `unlisted`     the record's own label, where the configuration does not list it
    `format`       of its file, such as "PNG, 8-bit colour"
    `is_deep`      whether its grey samples have more than 8 bits
    `pixels`       a hash of the decoded image: equal images have equal ones
    `problem`      why it casts no vote; None if it does
    `thumbnail`    JPEG of the image as engines see it; empty where none is kept
    """

    index: int
    name: str
    label: str | None
    unlisted: str | None
    group: str | None
    format: str
    is_deep: bool
    width: int
    height: int
    pixels: str
    problem: str | None
    thumbnail: bytes

    def __repr__(self) -> str:
        return "<Surveyed: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("what was surveyed is private and is never pickled")


class Survey:
    """Collects what is to be known of a shard's records; small pictures of a random sample of each label."""

    def __init__(self, num_labels: int) -> None:
        self._per_label = max(1, PICTURES // num_labels)
        self._rows: list[dict[str, Any]] = []
        self._rng = np.random.default_rng(0)
        self._seen = Counter[str]()
        self._kept: dict[str, list[int]] = {}

    def add(self, record: Record) -> None:
        """Note the next record."""
        width, height, pixels, words, is_deep = 0, 0, "", "", False
        if record.image is not None:
            height, width = record.image.shape[:2]
            pixels = hashlib.sha256(f"{width}x{height}".encode() + record.image.tobytes()).hexdigest()[:32]
            words, is_deep = (dicom_format if is_dicom(record.encoded) else pixel_format)(record.encoded)
        row = Surveyed(
            index=record.index,
            name=_text(record.name) or "",
            label=_text(record.label),
            unlisted=_text(record.unlisted),
            group=_text(record.group),
            format=words,
            is_deep=is_deep,
            width=width,
            height=height,
            pixels=pixels,
            problem=None if record.image is not None else record.problem or "unknown",
            thumbnail=b"",
        )
        self._rows.append({field.name: getattr(row, field.name) for field in fields(row)})
        if record.image is not None:
            self._sample(record.label or "", record.image)

    def _sample(self, label: str, image: ImageArray) -> None:
        """Keep a picture of the last row, in the place of another once there are enough (reservoir sampling)."""
        self._seen[label] += 1
        kept = self._kept.setdefault(label, [])
        place = len(kept) if len(kept) < self._per_label else int(self._rng.integers(self._seen[label]))
        if place >= self._per_label:
            return
        if place < len(kept):
            self._rows[kept[place]]["thumbnail"] = b""
            kept[place] = len(self._rows) - 1
        else:
            kept.append(len(self._rows) - 1)
        self._rows[-1]["thumbnail"] = thumbnail(image)

    def write(self, path: Path, problems: Mapping[int, str]) -> None:
        """Write what was noted.

        Args:
            path: of the file, which only its owner may read.
            problems: by index, why records cast no vote, as the shard knows it once they are embedded.
        """
        private_folder(path.parent)
        rows = [row | {"problem": problems.get(row["index"], row["problem"])} for row in self._rows]
        with atomic_file(path, mode=0o600) as file:
            parquet.write_table(arrow.Table.from_pylist(rows, schema=_SCHEMA), file)


_SCHEMA: Any = arrow.schema(
    {
        "index": arrow.int64(),
        **dict.fromkeys(("name", "label", "unlisted", "group", "format"), arrow.string()),
        "is_deep": arrow.bool_(),
        "width": arrow.int32(),
        "height": arrow.int32(),
        "pixels": arrow.string(),
        "problem": arrow.string(),
        "thumbnail": arrow.binary(),
    }
)


def read_survey(path: Path) -> Iterator[Surveyed]:
    """The records of one file, in order. Raises what PyArrow raises for a file that is missing or incomplete."""
    for row in parquet.read_table(path).to_pylist():
        yield Surveyed(**row)


def _text(value: str | None) -> str | None:
    """As UTF-8: bytes of a name that are none are shown as their codes."""
    return None if value is None else value.encode("utf-8", "backslashreplace").decode()


def thumbnail(image: ImageArray) -> bytes:
    """A small picture of an image, as JPEG."""
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()
