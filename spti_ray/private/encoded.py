# pyright: strict
"""What a record's image is before it is decoded: its bytes, the file that holds them, or the problem with it.

Problems are a fixed vocabulary without content. A file that private data name is opened only beside those data.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from spti_ray.places import Place

MISSING_IMAGE = "no image"
UNREADABLE_FILE = "unreadable file"
FILE_TOO_LARGE = "file too large"

Encoded = bytes | Path | Place | str
"""Bytes, a file, or one of the problems above."""

# 16-bit RGBA takes 8 bytes a pixel uncompressed; small limits leave room for metadata.
_BYTES_PER_PIXEL = 8
_MIN_FILE_LIMIT = 64 * 2**20


def largest(max_pixels: int) -> int:
    """Bytes that an image may have before it is decoded."""
    return max(_MIN_FILE_LIMIT, _BYTES_PER_PIXEL * max_pixels)


def from_value(value: Any, table: Place) -> Encoded:
    """The image of a cell of the file `table`: encoded bytes, a path, or a struct of either."""
    name: Any = value
    if isinstance(value, dict):
        data: Any = value.get("bytes")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        value, name = data, value.get("path")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(value, bytes):
        return value
    return _beside(table, name) if isinstance(name, str) and name else MISSING_IMAGE


def read(file: Path | Place, limit: int) -> bytes | str:
    """The file's bytes, or a problem. Only regular files: opening a pipe would wait forever."""
    try:
        if isinstance(file, Place):
            file = file.looked_up()
            if file.kind != "file":
                return UNREADABLE_FILE
            if file.size > limit:
                return FILE_TOO_LARGE
            with file.open_stream() as stream:
                return stream.read()
        if not file.is_file():
            return UNREADABLE_FILE
        if file.stat().st_size > limit:
            return FILE_TOO_LARGE
        return file.read_bytes()
    except Exception:  # noqa: BLE001 whatever a file system makes of one private name, it must not stop the others
        return UNREADABLE_FILE


def _beside(table: Place, name: str) -> Path | Place | str:
    """The named file, if it is in the folder that the table is in, or in a folder of that."""
    if table.remote:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "://" in name:
            return UNREADABLE_FILE
        return Place(table.filesystem, f"{table.path.rpartition('/')[0]}/{path}", remote=True)
    folder = Path(table.path).parent
    try:
        found = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):
        return UNREADABLE_FILE
    return found if found.is_relative_to(folder) else UNREADABLE_FILE
