# pyright: strict
"""Checks that the columns of Parquet files and of saved data sets are as configured, from the files' schemas alone.

Error texts name configuration fields, the configured path, columns of schemas and configured labels; never a value.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pyarrow as _arrow_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as _parquet_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.types as _types_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import StoragePath
from spti_ray.private.column_types import one_type
from spti_ray.private.ids import canonical
from spti_ray.private.kinds import DataError, Unit
from spti_ray.private.names import partitions
from spti_ray.private.tables import arrow_rows, arrow_schema, class_names
from spti_ray.types import SINGLE_LABEL

# PyArrow ships no types.
arrow: Any = _arrow_untyped
parquet: Any = _parquet_untyped
arrow_types: Any = _types_untyped

_AT_ONCE = 16
"""Files whose heads are read at the same time; in object storage each takes a request or two."""


def check_parquet(
    data: DataConfig, root: StoragePath, files: Sequence[StoragePath], unit: Unit, label_names: tuple[str, ...]
) -> None:
    """Check the columns of Parquet files, those in their paths included. Arguments as of `checks.check`.

    Raises:
        DataError: one line that names the field to change.
    """
    heads: list[tuple[Any, int]] | None = None
    with suppress(Exception), ThreadPoolExecutor(_AT_ONCE) as pool:  # PyArrow's texts may quote the file
        heads = list(pool.map(_parquet_head, files))
    if heads is None:
        raise DataError(f"data.path: {data.path!r} is not a Parquet file; give a folder of images or a Parquet file")
    in_paths = [partitions(file.relative_to(root)) for file in files]
    empty = not any(num_rows for _, num_rows in heads)
    for (schema, num_rows), in_path in zip(heads, in_paths, strict=True):
        if num_rows or empty:  # a file without rows may have lost its types
            _check_columns(data, "Parquet file", schema, unit, label_names, in_path)
    schemas = [_with_paths(schema, in_path) for (schema, _), in_path in zip(heads, in_paths, strict=True)]
    _check_one_type(data, schemas, unit, label_names)
    _check_label_kind(data, [schema for schema, _ in heads], label_names)
    column, wanted = data.label_column, {canonical(label) for label in label_names} - {SINGLE_LABEL}
    in_paths_alone = column is not None and not any(column in schema.names for schema, _ in heads)
    if wanted and in_paths_alone and not any(in_path.get(str(column)) in wanted for in_path in in_paths):
        raise DataError(f"evolution.labels: no label is a folder `{column}=LABEL` of data.path, {data.path!r}")
    if empty:
        raise DataError(f"data.path: the Parquet file {data.path!r} has no rows")


def _with_paths(schema: Any, in_path: Mapping[str, str | None]) -> Any:
    """The schema, extended by the text columns that are only in the file's path."""
    for column in in_path.keys() - set(schema.names):
        schema = schema.append(arrow.field(column, arrow.string()))
    return schema


def _parquet_head(file: StoragePath) -> tuple[Any, int]:
    """Schema and number of rows."""
    with file.open() as opened, parquet.ParquetFile(opened) as table:
        return table.schema_arrow, table.metadata.num_rows


def check_datasets(data: DataConfig, files: Sequence[StoragePath], unit: Unit, label_names: tuple[str, ...]) -> None:
    """Check the columns of data sets that Hugging Face `datasets` saved. Arguments as of `checks.check`.

    Raises:
        DataError: one line that names the field to change.
    """
    schemas: list[Any] | None = None
    there = False
    with suppress(Exception), ThreadPoolExecutor(_AT_ONCE) as pool:  # PyArrow's texts may quote the file
        found = list(pool.map(arrow_schema, files))
        # Not asked in object storage, where reading the first row fetches a whole batch of images.
        there = files[0].remote or any(next(arrow_rows(file, ()), None) is not None for file in files)
        schemas = found
    if schemas is None:
        raise DataError(f"data.path: {data.path!r} is no data set that datasets' save_to_disk wrote; save it again")
    for schema in schemas:
        _check_columns(data, "data set", schema, unit, label_names, {})
    _check_one_type(data, schemas, unit, label_names)
    _check_label_kind(data, schemas, label_names)
    if not there:
        raise DataError(f"data.path: the data set {data.path!r} has no rows")


def _check_one_type(data: DataConfig, schemas: Sequence[Any], unit: Unit, label_names: tuple[str, ...]) -> None:
    needed = {"label_column": data.label_column if label_names != (SINGLE_LABEL,) else None}
    needed["group_column"] = data.group_column if unit == "group" else None
    for field, column in needed.items():
        if column is not None and not one_type(schemas, column):
            raise DataError(f"data.{field}: the column has not the same type in all files; write it with one type")


def _check_columns(
    data: DataConfig,
    what: str,
    schema: Any,
    unit: Unit,
    label_names: tuple[str, ...],
    in_path: Mapping[str, str | None],
) -> None:
    """Check one file's schema. `in_path`: the columns that its path has. `what`: the kind of file, in words."""
    names: list[str] = list(schema.names)
    columns = {"image_column": data.image_column}
    label_column = data.label_column if label_names != (SINGLE_LABEL,) else None
    if label_column is not None:
        columns["label_column"] = label_column
    if unit == "group" and data.group_column is not None:
        columns["group_column"] = data.group_column
    for field, column in columns.items():
        if column not in names:
            if field != "image_column" and column in in_path:
                continue
            raise DataError(f"data.{field}: the {what} has no column {column!r}; {_suggest(column, names)}")
        if names.count(column) > 1:
            raise DataError(f"data.{field}: the {what} has several columns {column!r}; rename all but one")
        if field != "image_column" and arrow_types.is_nested(_plain(schema.field(column).type)):
            raise DataError(
                f"data.{field}: column {column!r} holds lists or structs; give one of text, whole numbers or classes"
            )
    if not _holds_images(schema.field(data.image_column).type):
        raise DataError(
            f"data.image_column: column {data.image_column!r} must hold encoded bytes, paths, or a struct of bytes "
            "and path"
        )


def _check_label_kind(data: DataConfig, schemas: Sequence[Any], label_names: tuple[str, ...]) -> None:
    """Refuse labels if a column of this type can hold none of them. All files have the same type here."""
    column = data.label_column
    if column is None or label_names in ((), (SINGLE_LABEL,)):
        return
    there = [schema for schema in schemas if column in schema.names]
    # In a file without any label the column may have the type null.
    typed = [schema for schema in there if not arrow_types.is_null(_plain(schema.field(column).type))]
    classes = [names for schema in typed if (names := class_names(schema, column)) is not None]
    if classes:
        if not set(map(canonical, label_names)) & {canonical(name) for names in classes for name in names}:
            raise DataError(
                f"evolution.labels: {label_names[0]!r} is no class of column {column!r}, nor is another label; give "
                "the names of its classes, not their numbers"
            )
        return
    for kind in (_plain(schema.field(column).type) for schema in (typed or there)[:1]):
        for is_kind, holds, could_be in _LABEL_KINDS:
            if is_kind(kind) and not any(map(could_be, label_names)):
                raise DataError(f"evolution.labels: column {column!r} holds {holds}, and no label is such a one")


def _is_whole(label: str) -> bool:
    try:
        return float(label).is_integer()
    except ValueError:
        return False


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


_LABEL_KINDS: tuple[tuple[Callable[[Any], bool], str, Callable[[str], bool]], ...] = (
    (arrow_types.is_integer, "whole numbers", _is_whole),
    (arrow_types.is_floating, "numbers", _is_number),
    (arrow_types.is_decimal, "numbers", _is_number),
    (arrow_types.is_boolean, "True and False", lambda label: canonical(label) in ("True", "False")),
    (arrow_types.is_null, "nothing", lambda label: False),
)
"""For a type of column: what it holds, in words, and whether a configured label could be in it."""


def _suggest(column: str, names: list[str]) -> str:
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(column.lower(), list(lowered), n=1, cutoff=0.5)
    return f"did you mean {lowered[near[0]]!r}?" if near else f"its columns: {', '.join(names)}"


def holds_paths(file: StoragePath, column: str) -> bool:
    """Whether a Parquet file only names its images by paths. Raises whatever PyArrow raises."""
    kind = _plain(_parquet_head(file)[0].field(column).type)
    return _is_text(kind) or bool(arrow_types.is_struct(kind) and kind.get_field_index("bytes") < 0)


def _is_text(kind: Any) -> bool:
    return bool(arrow_types.is_string(kind) or arrow_types.is_large_string(kind) or arrow_types.is_string_view(kind))


def _plain(kind: Any) -> Any:
    """The type of a column's values, without dictionary encoding and extension types."""
    while arrow_types.is_dictionary(kind) or isinstance(kind, arrow.BaseExtensionType):
        kind = kind.value_type if arrow_types.is_dictionary(kind) else kind.storage_type
    return kind


def _is_bytes(kind: Any) -> bool:
    kind = _plain(kind)
    return any(
        is_kind(kind)
        for is_kind in (
            arrow_types.is_binary,
            arrow_types.is_large_binary,
            arrow_types.is_binary_view,
            arrow_types.is_fixed_size_binary,
        )
    )


def _holds_images(kind: Any) -> bool:
    kind = _plain(kind)
    if arrow_types.is_struct(kind):
        fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        return bool(fields.keys() & {"bytes", "path"}) and ("bytes" not in fields or _is_bytes(fields["bytes"]))
    return bool(_is_bytes(kind) or _is_text(kind) or arrow_types.is_null(kind))
