"""Local files: writes that a crash can't tear, folders closed to others, and what configured locations are.

A write goes to a temporary file in the same folder, then fsync, rename, fsync of the folder. A reader sees the old file
or the whole new one, never a part. Temporary names start with a dot, so that one left behind by `kill -9` is hidden
from globs and from dataset loaders.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""Endings of images, in data as in releases."""

TEMPORARY = ".tmp-"
"""What names of files begin with that are not whole yet."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


class DiskFull(OSError):
    """No space or quota left; `str()` is one line that names the file, whose old content is untouched."""

    def __str__(self) -> str:
        return str(self.strerror)


def write_atomic(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Replace `path` by `data` (text as UTF-8) durably. Its folder must exist.

    Raises:
        DiskFull: no space left; nothing changed, and no temporary file is left.
    """
    with atomic_file(path, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_new(path: Path, text: str) -> None:
    """Create `path` with `text`, whole or not at all.

    Raises:
        FileExistsError: the file exists.
        DiskFull: no space left; nothing changed.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY) as folder:
        draft = Path(folder) / path.name
        write_atomic(draft, text)
        os.link(draft, path)  # Unlike a rename, it replaces nothing.
    fsync_folder(path.parent)


def write_table_atomic(path: Path, table: pa.Table, mode: int = 0o644) -> None:
    """Replace `path` by `table` as Parquet (zstd), durably. Raises DiskFull like `write_atomic`."""
    with atomic_file(path, mode) as file:
        pq.write_table(table, file, compression="zstd")


@contextmanager
def atomic_file(path: Path, mode: int = 0o644, sync_folder: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` when the block ends, or vanishes if the block fails.

    Args:
        path: of the file; its folder must exist.
        mode: of the file.
        sync_folder: whether the file's name is durable too. Who writes several files calls `fsync_folder` after them.

    Raises:
        DiskFull: no space left; nothing changed.
    """
    path = Path(path)
    temp: str | None = None
    try:
        descriptor, temp = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        with os.fdopen(descriptor, "wb") as file:
            with suppress(OSError):  # not every file system has locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # as long as it is written, see `remove_abandoned`
            os.fchmod(descriptor, mode)
            yield file
            file.flush()
            os.fsync(descriptor)
            os.replace(temp, path)
            temp = None
        if sync_folder:
            fsync_folder(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            message = f"{path}: no space left on the disk, the file was not written; free some space and run again"
            raise DiskFull(error.errno, message) from None
        raise
    finally:
        if temp is not None:
            with suppress(OSError):
                os.unlink(temp)


@contextmanager
def atomic_folder(path: Path, mode: int = 0o755) -> Iterator[Path]:
    """A folder to write into, which becomes `path` when the block ends, or vanishes if the block fails.

    Raises:
        OSError: `path` exists and is not an empty folder.
        DiskFull: no space left; nothing changed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(dir=path.parent, prefix=TEMPORARY))
    try:
        temp.chmod(mode)
        yield temp
        for entry in temp.rglob("*"):
            _fsync(entry)
        _fsync(temp)
        os.rename(temp, path)  # Onto an empty folder or nothing: it replaces no file.
        fsync_folder(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            message = f"{path}: no space left on the disk, nothing was written; free some space and run again"
            raise DiskFull(error.errno, message) from None
        raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files, in a folder and all below, that no living process of this machine writes.

    A process that was killed left them. What can't be looked at or removed stays.
    """
    for path in folder.rglob(f"{TEMPORARY}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


def is_inside(folder: Path, name: object) -> bool:
    """Whether `name`, which a manifest says is a file of `folder`, stays in it, also where links lead.

    False for what is no text, and for a name that the system can't resolve. The file need not exist.
    """
    if not isinstance(name, str) or "\0" in name:
        return False
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a name that is too long, or links in a circle
        return False


def is_url(location: str | Path) -> bool:
    """Whether a configured location is a URL in object storage, and not a local path."""
    return "://" in str(location)


def needs_no_shared_disk(location: str) -> bool:
    """Whether every machine can reach a location by itself: a URL, or data that come with the package."""
    return is_url(location) or location.startswith("bundled:")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make a rename, a new file or a removal in `folder` survive a power failure."""
    _fsync(folder, os.O_DIRECTORY)


def _fsync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(path: Path) -> Path:
    """Make a folder and its parents, and close it to everyone but the owner, also if it existed already."""
    path = Path(path)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkdir does not change the mode of an existing folder.
    path.chmod(0o700)
    return path


def restrict_to_owner(folder: Path) -> None:
    """Close a folder and everything in it to everyone but the owner."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
