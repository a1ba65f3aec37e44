# pyright: strict
"""Zip files of images: a folder of images in one file. Members are read one by one and never unpacked to disk.

What the directory says of one member decides about that one alone. A directory that is not where the file's end says,
or has not as many entries, is refused: Python would look for all members at another place. So are two members with one
name: whichever counted would be one that the other's damage brought to light.
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
"""Bytes of what stands at a zip file's end: records for large files, their place, and the end itself with a comment."""


def image_members(archive: zipfile.ZipFile, suffixes: frozenset[str]) -> list[zipfile.ZipInfo]:
    """Members that end so, sorted by name; hidden ones are left out.

    Raises Damaged if two have one name, or if two are the same bytes of the file: one record would have two votes.
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
    """The file, with a directory that is whole. Raises zipfile.BadZipFile, OSError and Damaged."""
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
    """What the member's label may be, most likely first: the first folder in the file, or else the folder that the zip
    file at the relative path `outer` is in, and its own name without ending.

    Old tools don't say in which encoding a name is: there are several then, and a label of the run decides.
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
    """With slashes between its parts alone: some tools begin each name with `./` or `/`."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def num_images(file: StoragePath, suffixes: frozenset[str]) -> int:
    """How many images a zip file has, from the directory at its end. Raises what `_archive` raises."""
    with _archive(file) as archive:
        return len(image_members(archive, suffixes))


def labels(file: StoragePath, suffixes: frozenset[str], outer: str) -> Iterator[list[str | None]]:
    """`labels_of` each image of a zip file, from the directory at its end. Raises what `_archive` raises."""
    with _archive(file) as archive:
        for member in image_members(archive, suffixes):
            yield labels_of(member, outer)


def images(
    file: StoragePath, suffixes: frozenset[str], wanted: range, limit: int
) -> Iterator[tuple[int, zipfile.ZipInfo, bytes | str]]:
    """Yield (place among the file's images, member, bytes or a problem) of the wanted images.

    Raises what `_archive` raises.
    """
    with _archive(file) as archive:
        members = image_members(archive, suffixes)
        for position in wanted:
            member = members[position]
            yield position, member, _read(archive, member, limit)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes | str:
    """A member's bytes, or a problem: no more are unpacked than its directory entry says."""
    if member.file_size > limit:
        return FILE_TOO_LARGE
    # Newer versions of Python end a member where the next one begins, by the directory: one entry with a wrong place
    # would make another member unreadable. The member's own header and check sum are enough.
    if hasattr(member, "_end_offset"):
        setattr(member, "_end_offset", None)  # noqa: B010 no type stub knows it
    try:
        with archive.open(member) as opened:
            return opened.read(member.file_size)
    except Exception:  # noqa: BLE001 damaged, encrypted or packed unusually; a member must not stop the others
        return UNREADABLE_FILE
