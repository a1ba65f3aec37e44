# pyright: strict
"""Rows of Parquet files, and of the Arrow files that Hugging Face `datasets` saves; a few at a time.

A saved data set is a folder with a `state.json` that lists its Arrow files. Those that it does not list are caches,
made from the same records: reading them too would give a record two votes. Only columns that are asked for are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import pyarrow as _arrow_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as _parquet_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.places import Place

# PyArrow ships no types.
arrow: Any = _arrow_untyped
parquet: Any = _parquet_untyped

ARROW_SUFFIX = ".arrow"
STATE = "state.json"

_BATCH_ROWS = 16
_BUFFER = 1 << 20


def num_rows(file: Place) -> int:
    """Rows of a Parquet file, from its footer."""
    with file.open() as opened, parquet.ParquetFile(opened) as table:
        return table.metadata.num_rows


def parquet_rows(file: Place, columns: Sequence[str], wanted: range) -> Iterator[tuple[int, Any, int]]:
    """Yield (row of the file, batch that holds it, place in the batch) of the wanted rows, by row groups."""
    # Without pre-buffering PyArrow streams pages instead of holding a whole row group.
    with file.open() as opened, parquet.ParquetFile(opened, pre_buffer=False, buffer_size=_BUFFER) as table:
        start = 0
        for row_group in range(table.metadata.num_row_groups):
            here: int = table.metadata.row_group(row_group).num_rows
            if start < wanted.stop and wanted.start < start + here:
                first = start
                for batch in table.iter_batches(
                    _BATCH_ROWS, row_groups=[row_group], columns=list(columns), use_threads=False
                ):
                    for row in range(max(first, wanted.start), min(first + batch.num_rows, wanted.stop)):
                        yield row, batch, row - first
                    first += batch.num_rows
            start += here


def saved_files(states: Sequence[Place], arrows: Sequence[Place]) -> list[Place]:
    """The Arrow files of saved data sets (one, or the splits of one), in the order of their records.

    `states`: files named state.json, some of which may be about something else; `arrows`: all Arrow files there are.
    Raises ValueError, without a name in it, if a file that is listed is not there.
    """
    there = {file.path: file for file in arrows}
    found: list[Place] = []
    for state in states:
        folder = state.path.rpartition("/")[0]
        for name in _listed(state):
            if (path := f"{folder}/{name}") not in there:
                raise ValueError("lacks an Arrow file that its state.json lists; save it again")
            found.append(there[path])
    return found


def _listed(state: Place) -> list[str]:
    with state.open_stream() as stream:
        try:
            values: Any = json.loads(stream.read())
        except ValueError:
            return []
    files: Any = cast("dict[str, Any]", values).get("_data_files") if isinstance(values, dict) else None
    listed = cast("list[Any]", files) if isinstance(files, list) else []
    return [str(cast("dict[str, Any]", file).get("filename")) for file in listed if isinstance(file, dict)]


def arrow_schema(file: Place) -> Any:
    """The schema at the head of an Arrow stream."""
    with file.open_mapped() as opened, arrow.ipc.open_stream(opened) as stream:
        return stream.schema


def arrow_rows(file: Place, columns: Sequence[str]) -> Iterator[tuple[int, Any, int]]:
    """Yield (row of the file, batch that holds it, place in the batch) of all rows.

    A local file is mapped into memory, so that only the rows that are looked at are read; of one in object storage a
    batch is held as it was written (100 images each, by `datasets`).
    """
    names: list[str] = arrow_schema(file).names
    options = arrow.ipc.IpcReadOptions(included_fields=sorted(names.index(column) for column in columns))
    first = 0
    with file.open_mapped() as opened, arrow.ipc.open_stream(opened, options=options) as stream:
        for batch in stream:
            for place in range(batch.num_rows):
                yield first + place, batch, place
            first += batch.num_rows


def cell(batch: Any, column: str | None, place: int) -> str | None:
    """A label or group of a batch's row as text; the class's name if the column has numbers of classes. None if there
    is no column."""
    return None if column is None else text(batch.column(column)[place].as_py(), class_names(batch.schema, column))


def text(value: object, names: Sequence[str] | None = None) -> str | None:
    """A label or group as text, its class's name if there are names; null, NaN and lists are none."""
    if value is None or isinstance(value, (dict, list)) or (isinstance(value, float) and math.isnan(value)):
        return None
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return value.hex() if isinstance(value, bytes) else str(value)


def class_names(schema: Any, column: str) -> list[str] | None:
    """Names of the classes of a column that `datasets` wrote as numbers of classes; None of any other column."""
    metadata: dict[bytes, bytes] = schema.metadata or {}
    return _class_names(metadata.get(b"huggingface", b""), column)


@lru_cache(maxsize=16)
def _class_names(written: bytes, column: str) -> list[str] | None:
    try:
        names: Any = json.loads(written)["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in cast("list[Any]", names)] if isinstance(names, list) else None
