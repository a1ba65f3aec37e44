# pyright: strict
"""Whether data files can be read as configured: checked at planning on the files' heads, without reading a record.

Error texts name configuration fields, the configured path, column names and configured labels; never files of a folder
or values.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal

import pyarrow.parquet as _parquet_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.types as _types_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.config import DataConfig
from spti_ray.places import Place
from spti_ray.private import metadata
from spti_ray.private.column_types import one_type
from spti_ray.private.damage import Damaged
from spti_ray.private.ids import canonical, one_of_two
from spti_ray.private.lmdbs import num_values
from spti_ray.private.tables import arrow_rows, arrow_schema, class_names
from spti_ray.private.tars import archive, next_member
from spti_ray.private.zips import num_images
from spti_ray.types import SINGLE_LABEL

# PyArrow ships no types.
parquet: Any = _parquet_untyped
arrow_types: Any = _types_untyped

Unit = Literal["record", "group"]
Kind = Literal["folder", "parquet", "datasets", "webdataset", "zip", "lmdb"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})

_AT_ONCE = 16
"""Files whose schemas are asked for at once."""

_NO_COLUMNS: dict[Kind, str] = {"folder": "a folder without one", "zip": "a zip file", "lmdb": "an LMDB database"}
"""Kinds whose records have no columns, and so no group; a folder may have a file of them."""


class DataError(ValueError):
    """The configured data can't be used; one line that names the configuration field and what to do."""


def check(
    kind: Kind, data: DataConfig, root: Place, files: Sequence[Place], unit: Unit, label_names: tuple[str, ...]
) -> None:
    """Raise `DataError` with one line that names the field to change, if files of this kind can't be read so.

    `root`: the configured place; `files`: those of its records, none for a local folder of images.
    """
    needs_labels = label_names != (SINGLE_LABEL,)
    if twice := one_of_two(label_names):
        raise DataError(f"evolution.labels: {twice[0]!r} and {twice[1]!r} are one label to the data; leave one of them")
    table = _metadata(data, root) if kind == "folder" else None
    if kind in _NO_COLUMNS and unit == "group" and table is None:
        raise DataError(
            "privacy.unit: group needs data.group_column of Parquet, tar or Arrow files, or of a folder's "
            f"metadata.jsonl or metadata.csv, but data.path is {_NO_COLUMNS[kind]}"
        )
    if kind not in _NO_COLUMNS:
        _check_columns_are_set(data, unit, needs_labels)
    if table is not None:
        _check_metadata(data, table, unit, needs_labels)
    if kind == "parquet":
        _check_parquet(data, files, unit, label_names)
    elif kind == "datasets":
        _check_datasets(data, files, unit, label_names)
    elif kind == "webdataset":
        _check_tar(data, files[0])
    elif kind == "zip":
        _check_zips(data, files)
    elif kind == "lmdb":
        _check_lmdbs(data, files)


def _check_columns_are_set(data: DataConfig, unit: Unit, needs_labels: bool) -> None:
    if needs_labels and data.label_column is None:
        raise DataError("data.label_column: must be set, since evolution.labels names labels")
    if unit == "group" and data.group_column is None:
        raise DataError("data.group_column: must be set, since privacy.unit is group")


def _metadata(data: DataConfig, root: Place) -> Place | None:
    """A folder's file of columns."""
    try:
        return metadata.find(root)
    except ValueError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote what it was answered
        reason = f"can't be reached ({type(error).__name__})"
    raise DataError(f"data.path: {data.path!r} {reason}")


def _check_metadata(data: DataConfig, table: Place, unit: Unit, needs_labels: bool) -> None:
    """Without a label column, labels are the first folders."""
    if unit == "group" and data.group_column is None:
        raise DataError("data.group_column: must be set, since privacy.unit is group")
    needed = {"label_column": data.label_column if needs_labels else None}
    needed["group_column"] = data.group_column if unit == "group" else None
    names = None
    with suppress(Exception):  # whose texts may quote the file
        names = metadata.columns(table, {metadata.FILE_NAME, *filter(None, needed.values())})
    if names is None or metadata.FILE_NAME not in names:
        raise DataError(f"data.path: {table.name} in {data.path!r} has no column {metadata.FILE_NAME!r}; make it again")
    for field, column in needed.items():
        if column is not None and column not in names:
            raise DataError(f"data.{field}: {table.name} has no column {column!r}; {_suggest(column, names)}")


def _check_tar(data: DataConfig, file: Place) -> None:
    readable = False
    with suppress(Exception), archive(file) as tar:  # whose texts may quote the file
        readable = next_member(tar) is not None
    if not readable:
        raise DataError(f"data.path: {data.path!r} is not a tar file of samples; give WebDataset shards")


def _check_zips(data: DataConfig, files: Sequence[Place]) -> None:
    there, reason = None, "it is not a zip file that can be read; make it again"
    try:
        there = any(num_images(file, IMAGE_SUFFIXES) for file in files)
    except Damaged as error:
        reason = str(error)
    except Exception:  # noqa: BLE001 whose texts may quote the file
        pass
    if there is None:
        raise DataError(f"data.path: reading {data.path!r} failed: {reason}")
    if not there:
        raise DataError(f"data.path: the zip file {data.path!r} holds no image")


def _check_lmdbs(data: DataConfig, files: Sequence[Place]) -> None:
    if files[0].remote:
        raise DataError(
            f"data.path: {data.path!r} is an LMDB database, which is mapped into memory; copy it to a local disk"
        )
    if importlib.util.find_spec("lmdb") is None:
        raise DataError("data.path: reading LMDB needs an extra; pip install 'spti-ray[lmdb]'")
    there = None
    with suppress(Exception):  # whose texts name the file
        there = any(num_values(file) for file in files)
    if there is None:
        raise DataError(f"data.path: {data.path!r} is not an LMDB database that can be read")
    if not there:
        raise DataError(f"data.path: the LMDB database {data.path!r} has no records")


def _check_parquet(data: DataConfig, files: Sequence[Place], unit: Unit, label_names: tuple[str, ...]) -> None:
    schemas, counts = None, [0]
    try:
        # A remote file's foot takes several answers of the store.
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            schemas, counts = zip(*threads.map(_foot, files), strict=True)
    except Exception:  # noqa: BLE001 PyArrow's texts may quote the file
        schemas = None
    if schemas is None:
        raise DataError(f"data.path: {data.path!r} is not a Parquet file; give a folder of images or a Parquet file")
    _check_columns(data, "Parquet file", schemas[0], unit, label_names)
    _check_one_type(data, schemas, unit, label_names)
    if not any(counts):
        raise DataError(f"data.path: the Parquet file {data.path!r} has no rows")


def _foot(file: Place) -> tuple[Any, int]:
    """A Parquet file's schema, and how many rows it has."""
    with file.open() as opened, parquet.ParquetFile(opened) as table:
        return table.schema_arrow, table.metadata.num_rows


def _check_datasets(data: DataConfig, files: Sequence[Place], unit: Unit, label_names: tuple[str, ...]) -> None:
    schemas, there = None, True
    try:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            schemas = list(threads.map(arrow_schema, files))
        # In object storage the first row comes with a whole batch of images.
        there = files[0].remote or any(next(arrow_rows(file, ()), None) is not None for file in files)
    except Exception:  # noqa: BLE001 PyArrow's texts may quote the file
        schemas = None
    if schemas is None:
        raise DataError(f"data.path: {data.path!r} is no data set that datasets' save_to_disk wrote; save it again")
    _check_columns(data, "data set", schemas[0], unit, label_names)
    _check_one_type(data, schemas, unit, label_names)
    if not there:
        raise DataError(f"data.path: the data set {data.path!r} has no rows")


def _check_one_type(data: DataConfig, schemas: Sequence[Any], unit: Unit, label_names: tuple[str, ...]) -> None:
    needed = {"label_column": data.label_column if label_names != (SINGLE_LABEL,) else None}
    needed["group_column"] = data.group_column if unit == "group" else None
    for field, column in needed.items():
        if column is not None and not one_type(schemas, column):
            raise DataError(f"data.{field}: the column has not the same type in all files; write it with one type")


def _check_columns(data: DataConfig, what: str, schema: Any, unit: Unit, label_names: tuple[str, ...]) -> None:
    names: list[str] = list(schema.names)
    columns = {"image_column": data.image_column}
    label_column = data.label_column if label_names != (SINGLE_LABEL,) else None
    if label_column is not None:
        columns["label_column"] = label_column
    if unit == "group" and data.group_column is not None:
        columns["group_column"] = data.group_column
    for field, column in columns.items():
        if column not in names:
            raise DataError(f"data.{field}: the {what} has no column {column!r}; {_suggest(column, names)}")
        if names.count(column) > 1:
            raise DataError(f"data.{field}: the {what} has several columns {column!r}; rename all but one")
    if not _holds_images(schema.field(data.image_column).type):
        raise DataError(
            f"data.image_column: column {data.image_column!r} must hold encoded bytes, paths, or a struct of bytes "
            "and path"
        )
    classes = class_names(schema, label_column) if label_column is not None else None
    if classes is not None and label_names and not set(map(canonical, label_names)) & set(map(canonical, classes)):
        raise DataError(
            f"evolution.labels: {label_names[0]!r} is no class of column {label_column!r}, nor is another label; give "
            "the names of its classes, not their numbers"
        )


def _suggest(column: str, names: list[str]) -> str:
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(column.lower(), list(lowered), n=1, cutoff=0.5)
    return f"did you mean {lowered[near[0]]!r}?" if near else f"its columns: {', '.join(names)}"


def _is_bytes(kind: Any) -> bool:
    return bool(arrow_types.is_binary(kind) or arrow_types.is_large_binary(kind))


def _holds_images(kind: Any) -> bool:
    if arrow_types.is_struct(kind):
        fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        return bool(fields.keys() & {"bytes", "path"}) and ("bytes" not in fields or _is_bytes(fields["bytes"]))
    return bool(_is_bytes(kind) or arrow_types.is_string(kind) or arrow_types.is_large_string(kind))
