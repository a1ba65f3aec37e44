# pyright: strict
"""Checks at planning that data files can be read as configured, from the files' heads and without reading a record.

Error texts name configuration fields, the configured path, columns of schemas and configured labels; never a file of a
folder or a value.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from spti_ray.config import DataConfig
from spti_ray.io.files import IMAGE_SUFFIXES
from spti_ray.io.object_storage import StoragePath
from spti_ray.private import dicom_header, metadata, zips
from spti_ray.private.damage import Damaged
from spti_ray.private.dicom import missing_extra
from spti_ray.private.ids import canonical, first_equal_pair
from spti_ray.private.kinds import DataError, Kind, Unit
from spti_ray.private.lmdbs import num_values
from spti_ray.private.names import file_key, first_folder
from spti_ray.private.schemas import check_datasets, check_parquet
from spti_ray.private.tars import archive, next_member
from spti_ray.types import SINGLE_LABEL

_NO_COLUMNS: dict[Kind, str] = {
    "folder": "a folder without such a file",
    "zip": "a zip file",
    "lmdb": "an LMDB database",
}
"""Kinds of data whose records have no columns, and so no group, in words. A folder may have a file of columns."""


def check(
    kind: Kind,
    data: DataConfig,
    root: StoragePath,
    files: Sequence[StoragePath],
    unit: Unit,
    label_names: tuple[str, ...],
) -> None:
    """Check that files of this kind can be read as configured.

    Args:
        root: the configured file or folder.
        files: the files that hold records.
        label_names: the configured labels, or ("all",) for none.

    Raises:
        DataError: they can't; one line that names the field to change.
    """
    needs_labels = label_names != (SINGLE_LABEL,)
    if twice := first_equal_pair(label_names):
        raise DataError(f"evolution.labels: {twice[0]!r} and {twice[1]!r} are one label to the data; leave one of them")
    table = _metadata(data, root) if kind in ("folder", "dicom") else None
    if kind in _NO_COLUMNS and unit == "group" and table is None:
        raise DataError(
            "privacy.unit: group needs data.group_column of Parquet, tar or Arrow files, or of a folder's "
            f"metadata.jsonl or metadata.csv, but data.path is {_NO_COLUMNS[kind]}"
        )
    if kind == "dicom":
        _check_dicom(data, table, root, files, unit, label_names)
        return
    if kind not in _NO_COLUMNS:
        _check_columns_are_set(data, unit, needs_labels)
    if table is not None:
        if unit == "group":
            _check_columns_are_set(data, unit, needs_labels=False)
        _check_metadata(data, table, root, files, _needed(data, unit, needs_labels))
    if kind == "parquet":
        check_parquet(data, root, files, unit, label_names)
    elif kind == "datasets":
        check_datasets(data, files, unit, label_names)
    elif kind == "webdataset":
        _check_tar(data, files[0])
    elif kind == "zip":
        _check_zips(data, root, files, label_names)
    elif kind == "lmdb":
        _check_lmdbs(data, root, files, label_names)
    elif table is None or data.label_column is None:
        _check_names(data, (first_folder(file.relative_to(root)) for file in files), label_names)


def _check_names(data: DataConfig, names: Iterable[str | None], label_names: tuple[str, ...]) -> None:
    """Where labels are names of folders, which planning may read: at least one of them must be a configured label."""
    wanted = {canonical(label) for label in label_names}
    if not label_names or label_names == (SINGLE_LABEL,) or any(name in wanted for name in names if name is not None):
        return
    column = data.label_column
    unread = "" if column is None else f", and no metadata.jsonl or .csv with data.label_column {column!r} is in it"
    raise DataError(
        f"evolution.labels: no label is the name of a first folder in data.path, {data.path!r}{unread}, so that no "
        "record could vote; let data.path be the folder whose folders are the labels (in a zip file: no "
        "folder around them)"
    )


def _check_columns_are_set(data: DataConfig, unit: Unit, needs_labels: bool) -> None:
    if needs_labels and data.label_column is None:
        raise DataError("data.label_column: must be set, since evolution.labels names labels")
    if unit == "group" and data.group_column is None:
        raise DataError("data.group_column: must be set, since privacy.unit is group")


def _needed(data: DataConfig, unit: Unit, needs_labels: bool) -> dict[str, str]:
    """The columns that are read, by their settings."""
    columns = {"label_column": data.label_column if needs_labels else None}
    columns["group_column"] = data.group_column if unit == "group" else None
    return {field: column for field, column in columns.items() if column is not None}


def _metadata(data: DataConfig, root: StoragePath) -> StoragePath | None:
    """A folder's file of columns, if it has one."""
    try:
        return metadata.find(root)
    except ValueError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote what it was answered
        reason = f"can't be reached ({type(error).__name__})"
    raise DataError(f"data.path: {data.path!r} {reason}")


def _check_metadata(
    data: DataConfig,
    table: StoragePath,
    root: StoragePath,
    files: Sequence[StoragePath],
    needed: Mapping[str, str],
) -> None:
    """Check a folder's file of columns. Without a label column, labels are the first folders.

    Errors name no column of the file: in metadata.jsonl columns belong to a record.

    Args:
        needed: the columns that it must have, by their settings.
    """
    wanted = set(needed.values())
    there = None
    with suppress(Exception):  # whose texts may quote the file
        there = metadata.has_columns(table, {metadata.FILE_NAME, *wanted})
    if there is None or metadata.FILE_NAME not in there:
        raise DataError(f"data.path: {table.name} in {data.path!r} has no column {metadata.FILE_NAME!r}; make it again")
    for field, column in needed.items():
        if column not in there:
            raise DataError(
                f"data.{field}: {column!r} does not fit {table.name}; give the name of a column that it has"
            )
    if wanted and len({file_key(file.relative_to(root)) for file in files}) < len(files):
        raise DataError(
            f"data.path: {data.path!r} has two images whose names differ only in the case of the ending or in how "
            f"letters are encoded, so that a row of {table.name} would be about both; rename one of them"
        )


def _check_tar(data: DataConfig, file: StoragePath) -> None:
    readable = False
    with suppress(Exception), archive(file) as tar:  # whose texts may quote the file
        readable = next_member(tar) is not None
    if not readable:
        raise DataError(f"data.path: {data.path!r} is not a tar file of samples; give WebDataset shards")


def _check_zips(
    data: DataConfig, root: StoragePath, files: Sequence[StoragePath], label_names: tuple[str, ...]
) -> None:
    names: set[str | None] | None = None
    reason = "it is not a zip file that can be read; make it again"
    try:
        found = set[str | None]()
        for file in files:
            for labels in zips.labels(file, IMAGE_SUFFIXES, file.relative_to(root)):
                found.update(labels)
        names = found
    except Damaged as error:
        reason = str(error)
    except Exception:  # noqa: BLE001 whose texts may quote the file
        pass
    if names is None:
        raise DataError(f"data.path: reading {data.path!r} failed: {reason}")
    if not names:
        raise DataError(f"data.path: the zip file {data.path!r} holds no image")
    _check_names(data, names, label_names)


def _check_lmdbs(
    data: DataConfig, root: StoragePath, files: Sequence[StoragePath], label_names: tuple[str, ...]
) -> None:
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
    _check_names(data, (first_folder(file.relative_to(root)) for file in files), label_names)


def _check_dicom(
    data: DataConfig,
    table: StoragePath | None,
    root: StoragePath,
    files: Sequence[StoragePath],
    unit: Unit,
    label_names: tuple[str, ...],
) -> None:
    """Check the columns of DICOM files: a name in DICOM's dictionary is one of their headers, others are of `table`."""
    if missing := missing_extra():
        raise DataError(f"data.path: {data.path!r} holds DICOM files{missing}")
    if unit == "group" and data.group_column is None:
        raise DataError(
            "data.group_column: must be set, since privacy.unit is group; of DICOM files PatientID, or a column of "
            "metadata.csv"
        )
    known = dicom_header.keywords()
    needed = _needed(data, unit, label_names != (SINGLE_LABEL,))
    for field, column in needed.items():
        if column not in known and table is None:
            lowered = {name.lower(): name for name in known}
            near = difflib.get_close_matches(column.replace("_", "").lower(), lowered, n=1, cutoff=0.5)
            raise DataError(
                f"data.{field}: {column!r} is no attribute of DICOM files, and no metadata.jsonl or .csv is there"
                + (f"; did you mean {lowered[near[0]]!r}?" if near else "; PatientID is one")
            )
        if not known.get(column, True):
            raise DataError(f"data.{field}: {column!r} of DICOM files is no text or number; name another attribute")
    if table is not None and needed:
        # Which of both counts must not depend on the rows of a table.
        there = set[str]()
        with suppress(Exception):  # whose texts may quote the file
            there = metadata.has_columns(table, set(needed.values()) & known.keys())
        if field := next((field for field, column in needed.items() if column in there), None):
            raise DataError(
                f"data.{field}: {needed[field]!r} is both an attribute of DICOM files and a column of {table.name}; "
                "rename that column"
            )
        in_table = {field: column for field, column in needed.items() if column not in known}
        if in_table:
            _check_metadata(data, table, root, files, in_table)
    if "label_column" not in needed:
        _check_names(data, (first_folder(file.relative_to(root)) for file in files), label_names)
