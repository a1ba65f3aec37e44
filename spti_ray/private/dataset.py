# pyright: strict
"""The private data set on disk: divided into shards by stable ids, read lazily by one shard.

A record's id is its row in the Parquet files taken together, the place of its relative path in a folder's sorted
listing, or for WebDataset the number of its tar file times 2^32, plus its place there. Only the configured columns are
read (image, label, group); a struct image's `path` is only ever used to open that file.
Error texts name configuration fields, the configured path and column names; never files of a folder or values.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as _parquet_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.config import DataConfig
from spti_ray.private.decode import Undecodable, decode
from spti_ray.private.places import Place, place
from spti_ray.private.source import IMAGE_SUFFIXES, DataError, Source, Unit, image_files, locate
from spti_ray.private.tars import Sample, field, samples
from spti_ray.types import SINGLE_LABEL, ImageArray

# PyArrow ships no types.
parquet: Any = _parquet_untyped

MISSING_IMAGE = "no image"
UNREADABLE_FILE = "unreadable file"
FILE_TOO_LARGE = "file too large"
UNLISTED_LABEL = "no listed label"
MISSING_GROUP = "no group"
"""Problems of a record beside those of `decode.Reason`: a fixed vocabulary without content."""

_BATCH_ROWS = 16
_BUFFER = 1 << 20
# 16-bit RGBA takes 8 bytes a pixel uncompressed; small limits leave room for metadata.
_BYTES_PER_PIXEL = 8
_MIN_FILE_LIMIT = 64 * 2**20
_SAMPLES_PER_TAR = 2**32


@dataclass(frozen=True, repr=False)
class Record:
    """PRIVATE: one record. `image` is None, and `problem` says why, for a record that casts no vote."""

    index: int
    label: str | None
    group: str | None
    image: ImageArray | None
    problem: str | None = None

    def __repr__(self) -> str:
        return "<Record: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("Records are private and are never pickled")


def shard_of_group(group: str, num_shards: int) -> int:
    """The shard of a group, from its value alone: a group never spans shards."""
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[:8], "big") % num_shards


def shard_rows(num_records: int, shard_id: int, num_shards: int) -> range:
    """The contiguous record indexes of a shard (unit record); shard sizes differ by one at most."""
    return range(num_records * shard_id // num_shards, num_records * (shard_id + 1) // num_shards)


def load_shard(
    data: DataConfig, unit: Unit, shard_id: int, num_shards: int, label_names: tuple[str, ...]
) -> Iterator[Record]:
    """Yield the records of one shard in index order, reading and decoding one small batch at a time.

    Every record of the shard is yielded; one that is unusable (no image, no listed label, no group when the unit is
    the group) comes with a `problem` and image None. With label_names ("all",) every label is "all"; with ()
    labels are as they are found, none included (for evaluation: a run lists its labels).
    Raises `DataError` if the data set as a whole can't be read.
    """
    if not 0 <= shard_id < num_shards:
        raise ValueError("shard_id must be in range(num_shards)")
    source, files = locate(data, unit, label_names)
    try:
        if source.kind == "folder":
            yield from _load_folder(source, files, data, shard_id, num_shards, label_names)
        elif source.kind == "webdataset":
            yield from _load_tars(files, data, unit, shard_id, num_shards, label_names)
        else:
            yield from _load_parquet(files, data, unit, shard_id, num_shards, label_names)
        return
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote the file
        kind = type(error).__name__
    raise DataError(f"data.path: reading {data.path!r} failed ({kind}); check that the data are complete")


def _load_folder(
    source: Source, files: list[Place], data: DataConfig, shard_id: int, num_shards: int, label_names: tuple[str, ...]
) -> Iterator[Record]:
    """`files`: of a folder in object storage; a local one is listed here."""
    named: list[tuple[str, Path | Place]]
    if files:
        root = place(source.location)
        named = [(file.relative_to(root), file) for file in files]
    else:
        folder = Path(source.location)
        named = [(file.relative_to(folder).as_posix(), file) for file in image_files(folder)]
        named.sort(key=lambda pair: os.fsencode(pair[0]))
    for index in shard_rows(len(named), shard_id, num_shards):
        relative, file = named[index]
        label = relative.split("/")[0] if "/" in relative else None
        yield _record(index, label, None, "record", label_names, file, data.max_pixels)


def _load_tars(
    files: list[Place], data: DataConfig, unit: Unit, shard_id: int, num_shards: int, label_names: tuple[str, ...]
) -> Iterator[Record]:
    label_column = data.label_column if label_names != (SINGLE_LABEL,) else None
    group_column = data.group_column if unit == "group" else None
    others = {name.lower() for name in (data.image_column, label_column, group_column) if name is not None}
    if label_column or group_column:
        others.add("json")

    def wanted(extension: str) -> bool:
        return extension in others or f".{extension}" in IMAGE_SUFFIXES

    for number, found in enumerate(files):
        # Whole files: how many samples one has is known only when it has been read. Groups may be in all of them.
        if unit == "record" and number % num_shards != shard_id:
            continue
        for position, sample in enumerate(samples(found, wanted, _largest(data.max_pixels))):
            group = field(sample, group_column) if group_column else None
            if unit == "group" and shard_of_group(group or "", num_shards) != shard_id:
                continue
            label = field(sample, label_column) if label_column else None
            index = number * _SAMPLES_PER_TAR + position
            yield _record(index, label, group, unit, label_names, _image_of(sample, data), data.max_pixels)


def _image_of(sample: Sample, data: DataConfig) -> bytes | str:
    """The member that `data.image_column` names, or else the first one that is an image; or a problem."""
    named = data.image_column.lower()
    images = [name for name in sample if f".{name}" in IMAGE_SUFFIXES]
    chosen = named if named in sample else images[0] if images else None
    if chosen is None:
        return MISSING_IMAGE
    found = sample[chosen]
    return FILE_TOO_LARGE if found is None else found


def _load_parquet(
    files: list[Place], data: DataConfig, unit: Unit, shard_id: int, num_shards: int, label_names: tuple[str, ...]
) -> Iterator[Record]:
    columns = [data.image_column]
    label_column = data.label_column if label_names != (SINGLE_LABEL,) else None
    group_column = data.group_column if unit == "group" else None
    columns += [column for column in (label_column, group_column) if column is not None and column not in columns]
    num_rows = [_num_rows(file) for file in files]
    # A group's records may be anywhere, so that each shard looks at the group of all rows.
    wanted = shard_rows(sum(num_rows), shard_id, num_shards) if unit == "record" else range(sum(num_rows))
    start = 0
    for found, count in zip(files, num_rows, strict=True):
        here = range(max(wanted.start - start, 0), min(wanted.stop - start, count))
        folder = None if found.remote else Path(found.path).parent
        if here:
            # Without pre-buffering PyArrow streams pages instead of holding a whole row group.
            with found.open() as opened, parquet.ParquetFile(opened, pre_buffer=False, buffer_size=_BUFFER) as file:
                for row, batch, i in _rows(file, columns, here):
                    group = _text(batch.column(group_column)[i].as_py()) if group_column else None
                    if unit == "group" and shard_of_group(group or "", num_shards) != shard_id:
                        continue
                    label = _text(batch.column(label_column)[i].as_py()) if label_column else None
                    encoded = _encoded(batch.column(data.image_column)[i].as_py(), folder)
                    yield _record(start + row, label, group, unit, label_names, encoded, data.max_pixels)
        start += count


def _num_rows(place: Place) -> int:
    with place.open() as opened, parquet.ParquetFile(opened) as file:
        return file.metadata.num_rows


def _rows(file: Any, columns: list[str], wanted: range) -> Iterator[tuple[int, Any, int]]:
    """Yield (row of the file, batch that holds it, place in the batch) of the wanted rows, by row groups."""
    start = 0
    for row_group in range(file.metadata.num_row_groups):
        num_rows: int = file.metadata.row_group(row_group).num_rows
        if start < wanted.stop and wanted.start < start + num_rows:
            first = start
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[row_group], columns=columns, use_threads=False):
                for index in range(max(first, wanted.start), min(first + batch.num_rows, wanted.stop)):
                    yield index, batch, index - first
                first += batch.num_rows
        start += num_rows


def _text(value: object) -> str | None:
    """A label or group as text; null and NaN are none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.hex() if isinstance(value, bytes) else str(value)


def _encoded(value: Any, folder: Path | None) -> bytes | Path | str:
    """The image's bytes, or the file that holds them (inside the data's folder, if that is local), or a problem."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        data: Any = value.get("bytes")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        name: Any = value.get("path")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(data, bytes):
            return data
        if isinstance(name, str) and name:
            return UNREADABLE_FILE if folder is None else _inside(folder, name)
    return MISSING_IMAGE


def _inside(folder: Path, name: str) -> Path | str:
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):
        return UNREADABLE_FILE
    return path if path.is_relative_to(folder) else UNREADABLE_FILE


def _record(
    index: int,
    label: str | None,
    group: str | None,
    unit: Unit,
    label_names: tuple[str, ...],
    encoded: bytes | Path | Place | str,
    max_pixels: int,
) -> Record:
    if label_names == (SINGLE_LABEL,):
        label = SINGLE_LABEL
    if label_names and label not in label_names:
        return Record(index, None, group, None, UNLISTED_LABEL)
    if unit == "group" and group is None:
        return Record(index, label, None, None, MISSING_GROUP)
    if isinstance(encoded, (Path, Place)):
        encoded = _read(encoded, _largest(max_pixels))
    if isinstance(encoded, str):
        return Record(index, label, group, None, encoded)
    try:
        return Record(index, label, group, decode(encoded, max_pixels))
    except Undecodable as error:
        return Record(index, label, group, None, error.reason)


def _largest(max_pixels: int) -> int:
    """Bytes that an image may have before it is decoded."""
    return max(_MIN_FILE_LIMIT, _BYTES_PER_PIXEL * max_pixels)


def _read(path: Path | Place, limit: int) -> bytes | str:
    """The file's bytes, or a problem. Only regular files: opening a pipe would wait forever."""
    try:
        if isinstance(path, Place):
            if path.size > limit:
                return FILE_TOO_LARGE
            with path.open_stream() as stream:
                return stream.read()
        if not path.is_file():
            return UNREADABLE_FILE
        if path.stat().st_size > limit:
            return FILE_TOO_LARGE
        return path.read_bytes()
    except (OSError, ValueError):
        return UNREADABLE_FILE
