# pyright: strict
"""Zip files of images: a folder of images in one file. Members are read one by one and never unpacked to disk.

An entry of the directory affects its own member alone. A directory that is not where the file's end says, or that has
another number of entries, is refused, since Python would then look for all members at wrong places. Two members with
one name are refused too: which of them counted could depend on damage to the other.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

from spti_ray.io.object_storage import StoragePath
from spti_ray.private.damage import Damaged
from spti_ray.private.encoded import FILE_TOO_LARGE, UNREADABLE_FILE
from spti_ray.private.ids import canonical
from spti_ray.private.names import first_folder

ZIP_SUFFIX = ".zip"
_UTF8 = 1 << 11
"""The flag of a member whose name is UTF-8."""

_END_64, _LOCATOR_64 = 56, 20
_LONGEST_END = _END_64 + _LOCATOR_64 + 22 + 65_535
"""Most bytes of a zip file's end: the record for large files, its locator, and the end record with a comment."""


def image_members(archive: zipfile.ZipFile, suffixes: frozenset[str]) -> list[zipfile.ZipInfo]:
    """Members with one of these endings, sorted by name; hidden ones are left out.

    Raises:
        Damaged: two members have one name, or are the same bytes of the file, which would give a record two votes.
    """
    named: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = _slashed(member.filename)
        if member.is_dir() or os.path.splitext(name)[1].lower() not in suffixes:
            continue
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if named.setdefault(name, member) is not member:
            raise Damaged("two members of a zip file have one name; make it again")
    if len({member.header_offset for member in named.values()}) < len(named):
        raise Damaged("two members of a zip file are one; make it again")
    return [named[name] for name in sorted(named, key=lambda name: name.encode("utf-8", "surrogatepass"))]


@contextmanager
def _archive(file: StoragePath) -> Generator[zipfile.ZipFile]:
    """Open a zip file and check its directory.

    Raises:
        Damaged: the directory is not where the file's end says, or has another number of entries.
        zipfile.BadZipFile: it is no zip file.
        OSError: the file can't be read.
    """
    with file.open() as opened, zipfile.ZipFile(opened) as archive:
        size: int = opened.size()
        opened.seek(max(0, size - _LONGEST_END))
        end: bytes = opened.read()
        at = end.rfind(b"PK\5\6")
        count, length, start = struct.unpack_from("<HII", end, at + 10)
        if at >= _END_64 + _LOCATOR_64 and end.startswith(b"PK\6\7", at - _LOCATOR_64):  # many members, or large ones
            at -= _END_64 + _LOCATOR_64
            count, length, start = struct.unpack_from("<QQQ", end, at + 32)
        if start + length != size - len(end) + at or count != len(archive.infolist()):
            raise Damaged("a zip file is damaged or has bytes put before it; make it again")
        yield archive


def labels_of(member: zipfile.ZipInfo, outer: str) -> list[str | None]:
    """What the member's label may be, the most likely first; the first that the run has configured counts.

    It is the first folder within the zip file; without one, the zip file's own name without ending, or the folder that
    the zip file is in. Old tools do not record the encoding of a name, so one folder may have several readings.

    Args:
        outer: the zip file's path, relative to the data's folder.
    """
    inner = [found for name in _spellings(member) if (found := first_folder(_slashed(name))) is not None]
    if inner:
        return list(dict.fromkeys(inner))
    folder, name = first_folder(outer), canonical(os.path.splitext(os.path.basename(outer))[0])
    return [name] if folder is None else [name, folder]


def _spellings(member: zipfile.ZipInfo) -> list[str]:
    name = member.filename
    if name.isascii() or member.flag_bits & _UTF8:
        return [name]
    found: list[str] = []
    for encoding in ("utf-8", "cp437", "cp850", "cp1252"):
        with suppress(UnicodeError):
            found.append(name.encode("cp437").decode(encoding))
    return found or [name]


def _slashed(name: str) -> str:
    """The name with slashes only between its parts: some tools begin each name with `./` or `/`."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def num_images(file: StoragePath, suffixes: frozenset[str]) -> int:
    """How many images a zip file has, by its directory. Raises what `_archive` and `image_members` raise."""
    with _archive(file) as archive:
        return len(image_members(archive, suffixes))


def labels(file: StoragePath, suffixes: frozenset[str], outer: str) -> Iterator[list[str | None]]:
    """`labels_of` each image of a zip file, by its directory. Raises what `_archive` and `image_members` raise."""
    with _archive(file) as archive:
        for member in image_members(archive, suffixes):
            yield labels_of(member, outer)


def images(
    file: StoragePath, suffixes: frozenset[str], wanted: range, limit: int
) -> Iterator[tuple[int, zipfile.ZipInfo, bytes | str]]:
    """Yield (position among the file's images, member, bytes or a problem) of the wanted images.

    Args:
        wanted: positions among the file's images.
        limit: bytes of the largest member that is read.

    Raises what `_archive` and `image_members` raise.
    """
    with _archive(file) as archive:
        members = image_members(archive, suffixes)
        for position in wanted:
            member = members[position]
            yield position, member, _read(archive, member, limit)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes | str:
    """A member's bytes, or a problem. No more bytes are unpacked than its directory entry says."""
    if member.file_size > limit:
        return FILE_TOO_LARGE
    # Newer versions of Python take the start of the next member, by the directory, for the end of this one: one wrong
    # entry would make another member unreadable. The member's own header and check sum are enough.
    if hasattr(member, "_end_offset"):
        setattr(member, "_end_offset", None)  # noqa: B010 no type stub knows it
    try:
        with archive.open(member) as opened:
            return opened.read(member.file_size)
    except Exception:  # noqa: BLE001 damaged, encrypted or packed unusually; a member must not stop the others
        return UNREADABLE_FILE
