# pyright: strict
"""The private data set on disk: divided into shards by stable ids, and read lazily by one shard.

A record's id (`Record.index`) is

- Parquet: its row, counted through all files
- a folder, also of DICOM files, zip files: the position of its relative path in the sorted listing
- LMDB databases: the position of its key
- WebDataset, saved `datasets`: the number of its file times 2^32, plus its position in the file

Only the configured columns are read (image, label, group), and an image's path is used only to open that file. A record
that is damaged casts no vote; damage that may not be one record's alone (`Damaged`) is an error, so that no other
record's vote changes.

Error texts name configuration fields, the configured path and column names; never a file of a folder or a value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence

from spti_ray.config import DataConfig
from spti_ray.io.files import IMAGE_SUFFIXES
from spti_ray.io.object_storage import StoragePath
from spti_ray.private import dicom_header, lmdbs, metadata, tables, zips
from spti_ray.private.damage import Damaged
from spti_ray.private.dicom import decode_dicom
from spti_ray.private.encoded import FILE_TOO_LARGE, MISSING_IMAGE, Encoded, max_file_bytes
from spti_ray.private.holdout import Part
from spti_ray.private.ids import label_by_id
from spti_ray.private.kinds import DataError, Unit
from spti_ray.private.listing import CHANGED, list_files
from spti_ray.private.names import file_key, first_folder, partitions
from spti_ray.private.record import Decoder, Record, decode_image, make_record
from spti_ray.private.source import locate, resolve_path
from spti_ray.private.tars import Sample, field, samples
from spti_ray.types import SINGLE_LABEL

READER_VERSION = 2
"""To be raised whenever the same files give other records, labels, groups or pixels: caches of them are made again."""

_RECORDS_PER_FILE = 2**32


def shard_of_group(group: str, num_shards: int) -> int:
    """The shard of a group, by a hash of its name, so that a group never spans shards."""
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[:8], "big") % num_shards


def shard_rows(num_records: int, shard_id: int, num_shards: int) -> range:
    """The contiguous record indexes of a shard where the unit is the record; shard sizes differ by one at most."""
    return range(num_records * shard_id // num_shards, num_records * (shard_id + 1) // num_shards)


def load_shard(
    data: DataConfig,
    unit: Unit,
    shard_id: int,
    num_shards: int,
    label_names: tuple[str, ...],
    listing: str | None = None,
    part: Part = "voting",
) -> Iterator[Record]:
    """Yield the records of one shard in index order, reading and decoding one small batch at a time.

    Every record of the shard is yielded. One that is unusable (no image, no listed label, no group where the unit is
    the group) has a `problem` and image None.

    Args:
        label_names: the configured labels; ("all",) gives every record the label "all", () keeps labels as found, also
            None (for evaluation: a run always lists its labels).
        listing: the hash of the files that all shards must read (`source.fingerprint`). Each shard lists the data by
            itself; if files came or went meanwhile, a record could be in two shards, or in none.
        part: what a run uses, or what `data.holdout` holds out; records of the other part have that as their problem.

    Raises:
        DataError: the data set as a whole can't be read, or its files changed before the first record or by the last.
    """
    if not 0 <= shard_id < num_shards:
        raise ValueError("shard_id must be in range(num_shards)")
    found = locate(data, unit, label_names)
    if listing not in (None, found.sha256):
        raise DataError(f"data.path: the files of {data.path!r} {CHANGED}")
    root, files, reason = found.root, found.files, ""
    try:
        if found.kind == "folder":
            yield from _load_folder(root, files, data, unit, shard_id, num_shards, label_names, part)
        elif found.kind == "dicom":
            dicom = dicom_header.keywords(), decode_dicom
            yield from _load_folder(root, files, data, unit, shard_id, num_shards, label_names, part, *dicom)
        elif found.kind == "zip":
            yield from _load_zips(root, files, data, shard_id, num_shards, label_names, part)
        elif found.kind == "lmdb":
            yield from _load_lmdbs(root, files, data, shard_id, num_shards, label_names, part)
        elif found.kind == "webdataset":
            yield from _load_tars(root, files, data, unit, shard_id, num_shards, label_names, part)
        elif found.kind == "datasets":
            yield from _load_arrow(root, files, data, unit, shard_id, num_shards, label_names, part)
        else:
            yield from _load_parquet(root, files, data, unit, shard_id, num_shards, label_names, part)
    except Damaged as error:
        reason = f": {error}"
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote the file
        reason = f" ({type(error).__name__}); check that the data are complete"
    if reason:
        raise DataError(
            f"data.path: reading {data.path!r} failed{reason}; spti check CONFIG --out DIR shows the data's owner where"
        )
    if list_files(data, resolve_path(data.path)).sha256 != found.sha256:
        raise DataError(f"data.path: the files of {data.path!r} {CHANGED}")


def _load_folder(
    root: StoragePath,
    files: Sequence[StoragePath],
    data: DataConfig,
    unit: Unit,
    shard_id: int,
    num_shards: int,
    label_names: tuple[str, ...],
    part: Part,
    in_header: Collection[str] = (),
    decoder: Decoder = decode_image,
) -> Iterator[Record]:
    """`in_header`: names of columns that are in the head of each image, and not in a file of columns."""
    # A group's records may be anywhere, so each shard checks the group of every image.
    wanted = shard_rows(len(files), shard_id, num_shards) if unit == "record" else range(len(files))
    _, label_column, group_column = _columns(data, unit, label_names)
    columns = (label_column, group_column)
    heads = [column for column in columns if column in in_header and column is not None]
    in_table = [None if column in heads else column for column in columns]
    table = metadata.find(root) if any(in_table) else None
    keys = {file_key(files[index].relative_to(root)) for index in wanted} if table else set[str]()
    cells = metadata.cells(table, keys, *in_table) if table else {}
    for index in wanted:
        relative = files[index].relative_to(root)
        label, group = cells.get(file_key(relative), (None, None))
        head = dicom_header.attributes(files[index], heads, max_file_bytes(data.max_pixels)) if heads else {}
        label, group = head.get(label_column or "", label), head.get(group_column or "", group)
        if unit == "group" and shard_of_group(group or "", num_shards) != shard_id:
            continue
        if label_column is None or (table is None and label_column not in heads):
            label = first_folder(relative)
        yield make_record(index, label, group, unit, label_names, files[index], data, relative, decoder, part)


def _parts(counts: Sequence[int], wanted: range) -> Iterator[tuple[int, int, range]]:
    """Divide wanted record indexes among files that hold `counts` records each.

    Yields (number of the file, index of its first record, wanted positions in the file).
    """
    start = 0
    for number, count in enumerate(counts):
        here = range(max(wanted.start - start, 0), min(wanted.stop - start, count))
        if here:
            yield number, start, here
        start += count


def _load_zips(
    root: StoragePath,
    files: Sequence[StoragePath],
    data: DataConfig,
    shard_id: int,
    num_shards: int,
    label_names: tuple[str, ...],
    part: Part,
) -> Iterator[Record]:
    counts = [zips.num_images(file, IMAGE_SUFFIXES) for file in files]
    limit = max_file_bytes(data.max_pixels)
    for number, start, here in _parts(counts, shard_rows(sum(counts), shard_id, num_shards)):
        outer, known = files[number].relative_to(root), label_by_id(label_names)
        for position, member, encoded in zips.images(files[number], IMAGE_SUFFIXES, here, limit):
            labels = zips.labels_of(member, outer)
            label = next((label for label in labels if label in known), labels[0])
            name = f"{outer}: {member.filename}"
            yield make_record(start + position, label, None, "record", label_names, encoded, data, name, part=part)


def _load_lmdbs(
    root: StoragePath,
    files: Sequence[StoragePath],
    data: DataConfig,
    shard_id: int,
    num_shards: int,
    label_names: tuple[str, ...],
    part: Part,
) -> Iterator[Record]:
    counts = [lmdbs.num_values(file) for file in files]
    limit = max_file_bytes(data.max_pixels)
    for number, start, here in _parts(counts, shard_rows(sum(counts), shard_id, num_shards)):
        relative = files[number].relative_to(root)
        label = first_folder(relative)
        for position, encoded in lmdbs.values(files[number], here, limit):
            name = f"{relative}: value {position}"
            yield make_record(start + position, label, None, "record", label_names, encoded, data, name, part=part)


def _load_tars(
    root: StoragePath,
    files: Sequence[StoragePath],
    data: DataConfig,
    unit: Unit,
    shard_id: int,
    num_shards: int,
    label_names: tuple[str, ...],
    part: Part,
) -> Iterator[Record]:
    label_column = data.label_column if label_names != (SINGLE_LABEL,) else None
    group_column = data.group_column if unit == "group" else None
    others = {name.lower() for name in (data.image_column, label_column, group_column) if name is not None}
    if label_column or group_column:
        others.add("json")

    def wanted(extension: str) -> bool:
        return extension in others or f".{extension}" in IMAGE_SUFFIXES

    for number, found in enumerate(files):
        # Whole files: how many samples a file has is known only after reading it. A group may be in any of them.
        if unit == "record" and number % num_shards != shard_id:
            continue
        outer = found.relative_to(root)
        for position, (key, sample) in enumerate(samples(found, wanted, max_file_bytes(data.max_pixels))):
            group = field(sample, group_column) if group_column else None
            if unit == "group" and shard_of_group(group or "", num_shards) != shard_id:
                continue
            label = field(sample, label_column) if label_column else None
            index = number * _RECORDS_PER_FILE + position
            image = _image_of(sample, data)
            yield make_record(index, label, group, unit, label_names, image, data, f"{outer}: {key}", part=part)


def _image_of(sample: Sample, data: DataConfig) -> bytes | str:
    """The member that `data.image_column` names, or else the first that is an image; or the problem with it."""
    named = data.image_column.lower()
    images = [name for name in sample if f".{name}" in IMAGE_SUFFIXES]
    chosen = named if named in sample else images[0] if images else None
    if chosen is None:
        return MISSING_IMAGE
    found = sample[chosen]
    return FILE_TOO_LARGE if found is None else found


def _load_parquet(
    root: StoragePath,
    files: Sequence[StoragePath],
    data: DataConfig,
    unit: Unit,
    shard_id: int,
    num_shards: int,
    label_names: tuple[str, ...],
    part: Part,
) -> Iterator[Record]:
    columns, label_column, group_column = _columns(data, unit, label_names)
    counts = [tables.num_rows(file) for file in files]
    # A group's records may be anywhere, so each shard checks the group of every row.
    wanted = shard_rows(sum(counts), shard_id, num_shards) if unit == "record" else range(sum(counts))
    for number, start, here in _parts(counts, wanted):
        there = tables.parquet_columns(files[number], columns)
        relative = files[number].relative_to(root)
        in_path = partitions(relative)
        for row, batch, i in tables.parquet_rows(files[number], there, here):
            group = tables.cell(batch, group_column, i) if group_column in there else in_path.get(group_column or "")
            if unit == "group" and shard_of_group(group or "", num_shards) != shard_id:
                continue
            label = tables.cell(batch, label_column, i) if label_column in there else in_path.get(label_column or "")
            encoded = tables.image(batch, data.image_column, i, files[number], data.follow_links)
            name = _row_name(relative, row, encoded)
            yield make_record(start + row, label, group, unit, label_names, encoded, data, name, part=part)


def _load_arrow(
    root: StoragePath,
    files: Sequence[StoragePath],
    data: DataConfig,
    unit: Unit,
    shard_id: int,
    num_shards: int,
    label_names: tuple[str, ...],
    part: Part,
) -> Iterator[Record]:
    """Records are numbered by file and row, since a file's number of rows is known only after reading it."""
    columns, label_column, group_column = _columns(data, unit, label_names)
    for number, file in enumerate(files):
        # Skipping rows of a mapped file costs nothing; a remote file would be fetched by every shard.
        if unit == "record" and file.remote and number % num_shards != shard_id:
            continue
        for row, batch, i in tables.arrow_rows(file, columns):
            if unit == "record" and not file.remote and row % num_shards != shard_id:
                continue
            group = tables.cell(batch, group_column, i)
            if unit == "group" and shard_of_group(group or "", num_shards) != shard_id:
                continue
            label = tables.cell(batch, label_column, i)
            encoded = tables.image(batch, data.image_column, i, file, data.follow_links)
            index = number * _RECORDS_PER_FILE + row
            name = _row_name(file.relative_to(root), row, encoded)
            yield make_record(index, label, group, unit, label_names, encoded, data, name, part=part)


def _row_name(table: str, row: int, encoded: Encoded) -> str:
    """Where a table's record is; with the name of its file if the row names one."""
    return f"{table}, row {row}" + (f": {encoded.name}" if isinstance(encoded, StoragePath) else "")


def _columns(
    data: DataConfig, unit: Unit, label_names: tuple[str, ...]
) -> tuple[tuple[str, ...], str | None, str | None]:
    """(all columns to read, each once; the label column, or None; the group column, or None)."""
    label_column = data.label_column if label_names != (SINGLE_LABEL,) else None
    group_column = data.group_column if unit == "group" else None
    named = (data.image_column, label_column, group_column)
    return tuple(dict.fromkeys(column for column in named if column is not None)), label_column, group_column
