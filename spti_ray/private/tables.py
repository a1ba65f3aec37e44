# pyright: strict
"""Rows of Parquet files and of the Arrow files that Hugging Face `datasets` saves, read a few at a time.

A saved data set is a folder with a `state.json` that lists its Arrow files. Arrow files that it does not list are
caches of the same records: reading them too would give a record two votes. Only the requested columns are read.

A cell that can't be read affects its own row alone. Damage to what rows share, such as a page, a footer or the end of a
stream, is an error, since rows that are lost or shifted would be other records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import pyarrow as _arrow_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as _parquet_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.types as _types_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.io.object_storage import StoragePath
from spti_ray.private.damage import Damaged
from spti_ray.private.encoded import UNREADABLE_FILE, Encoded, image_of_cell
from spti_ray.private.ids import canonical, json_object

# PyArrow ships no types.
arrow: Any = _arrow_untyped
parquet: Any = _parquet_untyped
types: Any = _types_untyped

ARROW_SUFFIX = ".arrow"
STATE = "state.json"

_BATCH_ROWS = 16
_BUFFER = 1 << 20
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def num_rows(file: StoragePath) -> int:
    """How many rows a Parquet file has, from its footer."""
    with file.open() as opened, parquet.ParquetFile(opened) as table:
        return table.metadata.num_rows


def parquet_columns(file: StoragePath, columns: Sequence[str]) -> list[str]:
    """Those of `columns` that a Parquet file has."""
    with file.open() as opened, parquet.ParquetFile(opened) as table:
        names: list[str] = table.schema_arrow.names
    return [column for column in columns if column in names]


def parquet_rows(file: StoragePath, columns: Sequence[str], wanted: range) -> Iterator[tuple[int, Any, int]]:
    """Read the wanted rows of a Parquet file, row group by row group.

    Yields (row in the file, the batch that holds it, position in the batch).

    Raises:
        Damaged: the file has another number of rows than its footer says.
        Exception: whatever PyArrow raises, also for a page that does not fit its check sum, if it has one.
    """
    # Without pre-buffering PyArrow streams pages instead of holding a whole row group.
    options = {"pre_buffer": False, "buffer_size": _BUFFER, "page_checksum_verification": True}
    with file.open() as opened, parquet.ParquetFile(opened, **options) as table:
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
                if first != start + here:
                    raise Damaged("a Parquet file has other rows than its footer says; make it again")
            start += here


def saved_files(states: Sequence[StoragePath], arrows: Sequence[StoragePath]) -> list[StoragePath]:
    """The Arrow files of a saved data set or of its splits, in the order of their records.

    Args:
        states: files named state.json, some of which may have another purpose.
        arrows: all Arrow files that were found.

    Raises:
        ValueError: a state.json can't be read, or lists a file that is missing or listed twice; names no file.
    """
    there = {file.path: file for file in arrows}
    found: list[StoragePath] = []
    for state in states:
        folder = state.path.rpartition("/")[0]
        for name in _listed(state):
            if (path := f"{folder}/{name}") not in there:
                raise ValueError("lacks an Arrow file that its state.json lists; save it again")
            found.append(there[path])
    return found


def _listed(state: StoragePath) -> list[str]:
    with state.open_stream() as stream:
        values = json_object(stream.read())
    if values is None:
        raise ValueError("has a state.json that can't be read; save it again")
    files: Any = values.get("_data_files")
    listed = cast("list[Any]", files) if isinstance(files, list) else []
    names = [str(cast("dict[str, Any]", file).get("filename")) for file in listed if isinstance(file, dict)]
    if len(set(names)) < len(names):
        raise ValueError("has a state.json that lists a file twice; save it again")
    return names


def arrow_schema(file: StoragePath) -> Any:
    """The schema at the head of an Arrow stream."""
    with file.open_mapped() as opened, arrow.ipc.open_stream(opened) as stream:
        return stream.schema


def arrow_rows(file: StoragePath, columns: Sequence[str]) -> Iterator[tuple[int, Any, int]]:
    """Read all rows of an Arrow stream.

    A local file is mapped into memory, so only rows that are used are read from disk. From object storage whole batches
    are read as they were written, which `datasets` makes 100 images each.

    Yields (row in the file, the batch that holds it, position in the batch).

    Raises:
        Damaged: the stream's end is missing, or something follows it.
        Exception: whatever PyArrow raises.
    """
    names: list[str] = arrow_schema(file).names
    options = arrow.ipc.IpcReadOptions(included_fields=sorted(names.index(column) for column in columns))
    first = 0
    with file.open_mapped() as opened, arrow.ipc.open_stream(opened, options=options) as stream:
        for batch in stream:
            for column in columns:
                _validate(batch.column(column))
            for place in range(batch.num_rows):
                yield first + place, batch, place
            first += batch.num_rows
        rest: bytes = opened.read(1)
    # PyArrow also takes the end of the file, or a message of length zero, for the end of the stream.
    if rest or _tail(file) != _END_OF_STREAM:
        raise Damaged("an Arrow file is damaged or lacks its end; save it again")


def _tail(file: StoragePath) -> bytes:
    with file.open() as opened:
        opened.seek(max(0, opened.size() - len(_END_OF_STREAM)))
        return opened.read()


def _validate(array: Any) -> None:
    """Check that all values are within the array's data, since reading outside may kill the process.

    Raises what PyArrow raises. Nothing else is checked: a text that is not UTF-8 affects its own row alone.
    """
    kind = array.type
    array.validate()
    if types.is_struct(kind):
        for number in range(kind.num_fields):
            _validate(array.field(number))
    elif types.is_dictionary(kind):
        _validate(array.dictionary)
    else:
        for layout in ("string", "large_string", "string_view"):
            if getattr(types, f"is_{layout}")(kind):
                array = array.view(getattr(arrow, layout.replace("string", "binary"))())
        if any(getattr(types, f"is_{layout}")(array.type) for layout in ("binary", "large_binary", "binary_view")):
            array.validate(full=True)


def cell(batch: Any, column: str | None, place: int) -> str | None:
    """The label or group in a row of a batch, in canonical form.

    For a column of class numbers it is the class's name. None if there is no column, or no value that can be read.
    """
    if column is None:
        return None
    names, values = class_names(batch.schema, column), batch.column(column)
    try:
        value = _plain(values[place])
    except Exception:  # noqa: BLE001 such as a date that Python can't represent; a cell must not stop other rows
        return None
    if names is not None and isinstance(value, int):
        return canonical(names[value]) if 0 <= value < len(names) else None
    return canonical(value)


def image(batch: Any, column: str, place: int, table: StoragePath, follow_links: bool = False) -> Encoded:
    """The image in a row of a batch of the file `table`, or the problem with it."""
    values = batch.column(column)
    try:
        value: Any = values[place].as_py()
    except Exception:  # noqa: BLE001 as above, such as a path that is not UTF-8
        return UNREADABLE_FILE
    return image_of_cell(value, table, follow_links)


def _plain(scalar: Any) -> Any:
    """A scalar's value; text as its bytes, which need not be UTF-8."""
    if isinstance(scalar, arrow.DictionaryScalar):
        scalar = scalar.value
    if not isinstance(scalar, arrow.StringScalar | arrow.BinaryScalar):
        return scalar.as_py()
    buffer = scalar.as_buffer()
    return None if buffer is None else buffer.to_pybytes()


def class_names(schema: Any, column: str) -> list[str] | None:
    """The class names of a column that `datasets` wrote as class numbers; None for any other column."""
    metadata: dict[bytes, bytes] = schema.metadata or {}
    return _class_names(metadata.get(b"huggingface", b""), column)


@lru_cache(maxsize=16)
def _class_names(written: bytes, column: str) -> list[str] | None:
    try:
        names: Any = json.loads(written)["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in cast("list[Any]", names)] if isinstance(names, list) else None
