# pyright: strict
"""Encoded images: a record's image before decoding is its bytes, the file that holds them, or a problem with it.

Problems are a fixed vocabulary without content. A file that private data name is opened only in the folder of those
data.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any

from spti_ray.io.object_storage import StoragePath, is_within

MISSING_IMAGE = "no image"
UNREADABLE_FILE = "unreadable file"
FILE_TOO_LARGE = "file too large"

Encoded = bytes | StoragePath | str
"""Bytes, a file, or one of the problems above."""

# 16-bit RGBA takes 8 bytes a pixel uncompressed; small limits leave room for metadata.
_BYTES_PER_PIXEL = 8
_MIN_FILE_LIMIT = 64 * 2**20


def max_file_bytes(max_pixels: int) -> int:
    """The largest encoded image, in bytes, that is read for a limit of pixels."""
    return max(_MIN_FILE_LIMIT, _BYTES_PER_PIXEL * max_pixels)


def image_of_cell(value: Any, table: StoragePath, follow_links: bool = False) -> Encoded:
    """The image in a table's cell.

    Args:
        value: encoded bytes, a path, or a dict with `bytes` and `path`.
        table: the file that the cell is in; paths are relative to its folder.
    """
    name: Any = value
    if isinstance(value, dict):
        data: Any = value.get("bytes")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        value, name = data, value.get("path")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(value, bytes):
        return value
    return _beside(table, name, follow_links) if isinstance(name, str) and name else MISSING_IMAGE


def read(file: StoragePath, limit: int) -> bytes | str:
    """The file's bytes, at most `limit` of them, or a problem. Only regular files: a pipe would block forever."""
    try:
        file = file.with_info()
        if file.kind != "file":
            return UNREADABLE_FILE
        if file.size > limit:
            return FILE_TOO_LARGE
        with file.open_stream() as stream:
            return stream.read()
    except Exception:  # noqa: BLE001 one private name must not stop the other records, whatever the file system does
        return UNREADABLE_FILE


def _beside(table: StoragePath, name: str, follow_links: bool) -> StoragePath | str:
    """The named file, if it is in the table's folder or below it; else a problem.

    With `follow_links`, links on the way may lead out of the folder. A path that itself leads out (`..`, absolute) is
    never followed.
    """
    name = name.replace("\\", "/")
    path = PurePosixPath(name)
    folder = table.path.rpartition("/")[0]
    if table.remote:
        if path.is_absolute() or ".." in path.parts or "://" in name:
            return UNREADABLE_FILE
        return StoragePath(table.filesystem, f"{folder}/{path}", remote=True)
    try:
        found = os.path.normpath(os.path.join(folder, name))
        inside = is_within(found, folder)
        if not follow_links:
            found = os.path.realpath(found)
            inside = inside and is_within(found, os.path.realpath(folder))
        return StoragePath(table.filesystem, found, remote=False) if inside else UNREADABLE_FILE
    except (OSError, ValueError):
        return UNREADABLE_FILE
