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

from collections.abc import Callable, Iterator, Mapping

from spti_ray.config import DataConfig
from spti_ray.private.damage import Damaged
from spti_ray.private.file_records import read_dicom, read_folder, read_lmdbs, read_tars, read_zips
from spti_ray.private.holdout import Part
from spti_ray.private.kinds import DataError, Kind, Unit
from spti_ray.private.listing import CHANGED, list_files
from spti_ray.private.record import Record
from spti_ray.private.shard_reading import ShardReading
from spti_ray.private.source import locate, resolve_path
from spti_ray.private.table_records import read_arrow, read_parquet

READER_VERSION = 2
"""To be raised whenever the same files give other records, labels, groups or pixels: caches of them are made again."""

_READERS: Mapping[Kind, Callable[[ShardReading], Iterator[Record]]] = {
    "folder": read_folder,
    "dicom": read_dicom,
    "zip": read_zips,
    "lmdb": read_lmdbs,
    "webdataset": read_tars,
    "datasets": read_arrow,
    "parquet": read_parquet,
}


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
    reading = ShardReading(found.root, found.files, data, unit, shard_id, num_shards, label_names, part)
    reason = ""
    try:
        yield from _READERS[found.kind](reading)
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
