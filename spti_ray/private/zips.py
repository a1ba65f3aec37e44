# pyright: strict
"""Zip files of images: a folder of images in one file. Members are read one by one and never unpacked to disk.

What the directory says of one member decides about that one alone. Two members with one name are refused: whichever
counted would be one that the other's damage brought to light.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator

from spti_ray.places import Place
from spti_ray.private.damage import Damaged
from spti_ray.private.encoded import FILE_TOO_LARGE, UNREADABLE_FILE

ZIP_SUFFIX = ".zip"


def image_members(archive: zipfile.ZipFile, suffixes: frozenset[str]) -> list[zipfile.ZipInfo]:
    """Members that end so, sorted by name; hidden ones are left out. Raises Damaged if two have one name."""
    named: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if member.is_dir() or os.path.splitext(name)[1].lower() not in suffixes:
            continue
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if named.setdefault(name, member) is not member:
            raise Damaged("two members of a zip file have one name; make it again")
    return [named[name] for name in sorted(named, key=lambda name: name.encode("utf-8", "surrogatepass"))]


def num_images(file: Place, suffixes: frozenset[str]) -> int:
    """How many images a zip file has, from the directory at its end. Raises zipfile.BadZipFile and OSError."""
    with file.open() as opened, zipfile.ZipFile(opened) as archive:
        return len(image_members(archive, suffixes))


def images(file: Place, suffixes: frozenset[str], wanted: range, limit: int) -> Iterator[tuple[int, str, bytes | str]]:
    """Yield (place among the file's images, name, bytes or a problem) of the wanted images.

    Raises zipfile.BadZipFile and OSError if there is no directory of members, and Damaged.
    """
    with file.open() as opened, zipfile.ZipFile(opened) as archive:
        members = image_members(archive, suffixes)
        for position in wanted:
            member = members[position]
            yield position, member.filename, _read(archive, member, limit)


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
