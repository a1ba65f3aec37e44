# pyright: strict
"""Where the private data are, and whether they can be read as configured: checked at planning, before a model loads.

Error texts name configuration fields, the configured path and column names; never files of a folder or values.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as _parquet_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.types as _types_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.config import DataConfig
from spti_ray.files import is_url
from spti_ray.private.places import Place, place
from spti_ray.private.tars import TAR_SUFFIXES
from spti_ray.types import SINGLE_LABEL

# PyArrow ships no types.
parquet: Any = _parquet_untyped
arrow_types: Any = _types_untyped

Unit = Literal["record", "group"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
BUNDLED_DATA = {"stickers": "stickers.parquet"}


class DataError(ValueError):
    """The configured data can't be used; one line that names the configuration field and what to do."""


Kind = Literal["folder", "parquet", "webdataset"]
_IN_WORDS: dict[Kind, str] = {"folder": "images", "parquet": "Parquet files", "webdataset": "tar files"}


@dataclass(frozen=True)
class Source:
    """Where the private records are: public facts only, and so not how many there are.

    `location`: an absolute path or a URL, the same for every process.
    """

    kind: Kind
    location: str


def resolve_path(path: str) -> str:
    """The absolute path or URL of `data.path`; `bundled:NAME` is a file of the package. Raises `DataError`."""
    prefix, _, name = path.partition(":")
    if prefix == "bundled":
        if name not in BUNDLED_DATA:
            raise DataError(f"data.path: {path!r} is unknown; bundled data: {', '.join(sorted(BUNDLED_DATA))}")
        return str(resources.files("spti_ray") / "package_data" / "data" / BUNDLED_DATA[name])
    return path if is_url(path) else str(Path(path).expanduser().resolve())


def describe(data: DataConfig, unit: Unit = "record", label_names: tuple[str, ...] = (SINGLE_LABEL,)) -> Source:
    """Check at planning that the configured data can be read, and say where they are. Reads no record.

    Raises `DataError` with one line that names the field to change.
    """
    return locate(data, unit, label_names)[0]


def locate(data: DataConfig, unit: Unit, label_names: tuple[str, ...]) -> tuple[Source, list[Place]]:
    """As `describe`, and the files in the order of their records; none for a local folder of images."""
    location = resolve_path(data.path)
    is_folder = False
    if not is_url(location):
        path = Path(location)
        is_folder = path.is_dir()
        if not path.exists():
            raise DataError(f"data.path: {data.path!r} does not exist; give a folder of images, Parquet or tar files")
        if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
            raise DataError(f"data.path: {data.path!r} can't be read; check its permissions")
    found = _files_by_kind(data, location)
    if is_folder and next(image_files(Path(location)), None) is not None:
        found["folder"] = []
    if len(found) > 1:
        both = " and ".join(_IN_WORDS[kind] for kind in sorted(found))
        raise DataError(f"data.path: the folder {data.path!r} holds {both}; separate them")
    if not found:
        known = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise DataError(
            f"data.path: the folder {data.path!r} holds no image file ({known}), no Parquet and no tar file"
        )
    ((kind, files),) = found.items()
    needs_labels = label_names != (SINGLE_LABEL,)
    if kind == "folder" and unit == "group":
        raise DataError(
            "privacy.unit: group needs data.group_column of Parquet or tar files, but data.path is a folder"
        )
    if kind != "folder":
        _check_columns_are_set(data, unit, needs_labels)
    if kind == "parquet":
        _check_parquet(data, files, unit, needs_labels)
    if kind == "webdataset":
        _check_tar(data, files[0])
    return Source(kind, location), files


def _files_by_kind(data: DataConfig, location: str) -> dict[Kind, list[Place]]:
    """The data's files, but for local images: those are listed by `image_files`."""
    reason = ""
    try:
        root = place(location)
        if root.kind == "file":
            return {"webdataset" if root.path.lower().endswith(TAR_SUFFIXES) else "parquet": [root]}
        found: dict[Kind, list[Place]] = {}
        for file in root.files((".parquet", *TAR_SUFFIXES, *(IMAGE_SUFFIXES if root.remote else ()))):
            path = file.path.lower()
            kind = "parquet" if path.endswith(".parquet") else "webdataset" if path.endswith(TAR_SUFFIXES) else "folder"
            found.setdefault(kind, []).append(file)
        return found
    except ValueError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote what it was answered
        reason = f"it can't be reached ({type(error).__name__}); check the URL and the credentials in the environment"
    raise DataError(f"data.path: {data.path!r}: {reason}")


def fingerprint(source: Source) -> str:
    """A hash that changes when a private file is added, removed, resized or touched; for caches of what they hold.

    Of every file, since a folder's own time does not change when a file in it does, or in a sub-folder. File names go
    into the hash and nowhere else; a file that can't be looked at counts by its name alone.
    """
    digest = hashlib.sha256(os.fsencode(source.location))
    if source.kind == "folder" and not is_url(source.location):
        for file in sorted(image_files(Path(source.location))):
            digest.update(b"\0" + os.fsencode(file))
            try:
                stat = file.stat()
            except OSError:
                continue
            digest.update(f"\0{stat.st_size}:{stat.st_mtime_ns}".encode())
    else:
        for found in place(source.location).files((".parquet", *TAR_SUFFIXES, *IMAGE_SUFFIXES)):
            digest.update(b"\0" + os.fsencode(found.path) + f"\0{found.version()}".encode())
    return digest.hexdigest()


def _check_columns_are_set(data: DataConfig, unit: Unit, needs_labels: bool) -> None:
    if needs_labels and data.label_column is None:
        raise DataError("data.label_column: must be set, since evolution.labels names labels")
    if unit == "group" and data.group_column is None:
        raise DataError("data.group_column: must be set, since privacy.unit is group")


def _check_tar(data: DataConfig, file: Place) -> None:
    try:
        with file.open_stream() as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
            readable = tar.next() is not None
    except Exception:  # noqa: BLE001 the text may quote the file
        readable = False
    if not readable:
        raise DataError(f"data.path: {data.path!r} is not a tar file of samples; give WebDataset shards")


def _check_parquet(data: DataConfig, files: list[Place], unit: Unit, needs_labels: bool) -> None:
    schema, num_rows = None, 0
    try:
        for found in files:
            with found.open() as opened, parquet.ParquetFile(opened) as file:
                schema, num_rows = schema or file.schema_arrow, file.metadata.num_rows
            if num_rows:
                break
    except Exception:  # noqa: BLE001 PyArrow's texts may quote the file
        schema = None
    if schema is None:
        raise DataError(f"data.path: {data.path!r} is not a Parquet file; give a folder of images or a Parquet file")
    names: list[str] = list(schema.names)
    columns = {"image_column": data.image_column}
    if needs_labels and data.label_column is not None:
        columns["label_column"] = data.label_column
    if unit == "group" and data.group_column is not None:
        columns["group_column"] = data.group_column
    for field, column in columns.items():
        if column not in names:
            raise DataError(f"data.{field}: the Parquet file has no column {column!r}; {_suggest(column, names)}")
        if names.count(column) > 1:
            raise DataError(f"data.{field}: the Parquet file has several columns {column!r}; rename all but one")
    if not _holds_images(schema.field(data.image_column).type):
        raise DataError(
            f"data.image_column: column {data.image_column!r} must hold encoded bytes or a struct of bytes and path"
        )
    if not num_rows:
        raise DataError(f"data.path: the Parquet file {data.path!r} has no rows")


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
    return _is_bytes(kind)


def image_files(folder: Path) -> Iterator[Path]:
    """Image files under the folder by extension, in no set order; hidden files and folders are left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield Path(root, name)
