# pyright: strict
"""Records that are rows of tables: of Parquet files, and of Arrow files as `datasets` saves them. A shard reads its
own, in order."""

from __future__ import annotations

from collections.abc import Iterator

from spti_ray.io.object_storage import StoragePath
from spti_ray.private import tables
from spti_ray.private.encoded import Encoded
from spti_ray.private.names import partitions
from spti_ray.private.record import Record
from spti_ray.private.shard_reading import RECORDS_PER_FILE, ShardReading, in_files


def read_parquet(shard: ShardReading) -> Iterator[Record]:
    """Yield the records of Parquet files. A column may be in the names of their folders instead (`label=cat/`)."""
    data, label_column, group_column = shard.data, shard.label_column, shard.group_column
    counts = [tables.num_rows(file) for file in shard.files]
    for number, start, here in in_files(counts, shard.rows(sum(counts))):
        file = shard.files[number]
        there = tables.parquet_columns(file, shard.columns)
        relative = file.relative_to(shard.root)
        in_path = partitions(relative)
        for row, batch, i in tables.parquet_rows(file, there, here):
            group = tables.cell(batch, group_column, i) if group_column in there else in_path.get(group_column or "")
            if shard.group_is_elsewhere(group):
                continue
            label = tables.cell(batch, label_column, i) if label_column in there else in_path.get(label_column or "")
            encoded = tables.image(batch, data.image_column, i, file, data.follow_links)
            yield shard.record(start + row, label, group, encoded, _name(relative, row, encoded))


def read_arrow(shard: ShardReading) -> Iterator[Record]:
    """Yield the records of Arrow files, by file and row, since a file's number of rows is known only after reading."""
    data = shard.data
    for number, file in enumerate(shard.files):
        # Skipping rows of a mapped file costs nothing; a remote file would be fetched by every shard.
        if file.remote and shard.is_elsewhere(number):
            continue
        for row, batch, i in tables.arrow_rows(file, shard.columns):
            if not file.remote and shard.is_elsewhere(row):
                continue
            group = tables.cell(batch, shard.group_column, i)
            if shard.group_is_elsewhere(group):
                continue
            label = tables.cell(batch, shard.label_column, i)
            encoded = tables.image(batch, data.image_column, i, file, data.follow_links)
            name = _name(file.relative_to(shard.root), row, encoded)
            yield shard.record(number * RECORDS_PER_FILE + row, label, group, encoded, name)


def _name(table: str, row: int, encoded: Encoded) -> str:
    """Where a table's record is; with the name of its file if the row names one."""
    return f"{table}, row {row}" + (f": {encoded.name}" if isinstance(encoded, StoragePath) else "")
