# pyright: strict
"""Zip files of images: a folder of images in one file. Members are read one by one and never unpacked to disk."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator

from spti_ray.places import Place
from spti_ray.private.encoded import FILE_TOO_LARGE, UNREADABLE_FILE

ZIP_SUFFIX = ".zip"


def image_members(archive: zipfile.ZipFile, suffixes: frozenset[str]) -> list[zipfile.ZipInfo]:
    """Members that end so, sorted by name; hidden ones are left out, and of several with one name the last counts."""
    named = {member.filename: member for member in archive.infolist() if not member.is_dir()}
    return [
        named[name]
        for name in sorted(named, key=lambda name: name.encode("utf-8", "surrogatepass"))
        if os.path.splitext(name)[1].lower() in suffixes and not any(part.startswith(".") for part in name.split("/"))
    ]


def num_images(file: Place, suffixes: frozenset[str]) -> int:
    """How many images a zip file has, from the directory at its end. Raises zipfile.BadZipFile and OSError."""
    with file.open() as opened, zipfile.ZipFile(opened) as archive:
        return len(image_members(archive, suffixes))


def images(
    file: Place, suffixes: frozenset[str], wanted: range, limit: int
) -> Iterator[tuple[int, str | None, bytes | str]]:
    """Yield (place among the file's images, first folder if any, bytes or a problem) of the wanted images.

    Raises zipfile.BadZipFile and OSError if there is no directory of members.
    """
    with file.open() as opened, zipfile.ZipFile(opened) as archive:
        members = image_members(archive, suffixes)
        for position in wanted:
            member = members[position]
            folder, slash, _ = member.filename.partition("/")
            yield position, folder if slash else None, _read(archive, member, limit)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes | str:
    """A member's bytes, or a problem: no more are unpacked than its directory entry says."""
    if member.file_size > limit:
        return FILE_TOO_LARGE
    try:
        with archive.open(member) as opened:
            return opened.read(member.file_size)
    except Exception:  # noqa: BLE001 damaged, encrypted or packed unusually; a member must not stop the others
        return UNREADABLE_FILE
