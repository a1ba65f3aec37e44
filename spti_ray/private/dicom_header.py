# pyright: strict
"""Labels and groups of DICOM files: attributes of their headers, such as PatientID. All but those named is skipped."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, MutableSequence
from contextlib import suppress
from typing import Any

from spti_ray.io.object_storage import StoragePath
from spti_ray.private.decode import strict_pillow
from spti_ray.private.dicom import file_syntax, library
from spti_ray.private.dicom_codecs import plugin_of
from spti_ray.private.ids import canonical

_READ_AT_ONCE = 2**16
"""Bytes: more than most headers before the pixels, so that one in object storage takes a request."""

_PIXELS = 0x7FE0_0000
_AS_TEXT = frozenset("AE AS CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UC UI UL UR US UT".split())
"""Value representations of texts and numbers."""


def keywords() -> Mapping[str, bool]:
    """The names of DICOM's attributes, as of the standard, and whether each holds a text or number."""
    dictionary: Any = library().datadict.DicomDictionary
    return {row[4]: row[0] in _AS_TEXT for row in dictionary.values() if row[4]}


def attributes(file: StoragePath, names: Collection[str], limit: int) -> dict[str, str | None]:
    """Attributes of a file, by their keywords, each in its canonical form; None for what it lacks.

    What can't be read, has several values or is in a file of more than `limit` bytes, is none: nothing is raised.
    """
    found: dict[str, str | None] = dict.fromkeys(names)
    if file.kind != "file" or file.size > limit:  # a pipe would block forever
        return found
    with suppress(Exception), strict_pillow(1), file.open() as opened:
        stream: Any = io.BufferedReader(opened, _READ_AT_ONCE)
        dataset = _header(stream, names)
        for name in names:
            with suppress(Exception):
                found[name] = _id(dataset.get(name))
    return found


def _header(stream: Any, names: Collection[str]) -> Any:
    """The data set up to the last of the attributes, and no pixels."""
    pydicom = library()
    tags = [pydicom.tag.Tag(name) for name in names]
    if stream.read(132)[128:] != b"DICM":
        return {}
    syntax = pydicom.uid.UID(file_syntax(stream))  # after which the data set begins
    if plugin_of(syntax) is None:
        return {}

    def is_after(tag: int, _vr: str | None, _length: int) -> bool:
        return tag > max(tags) or tag >= _PIXELS

    return pydicom.filereader.read_dataset(
        stream, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=is_after, specific_tags=tags
    )


def _id(value: Any) -> str | None:
    if value is None or isinstance(value, MutableSequence):
        return None
    # pydicom's own numbers are written as they were in the file: " 012" would not be 12.
    plain = next((kind(value) for kind in (int, float) if isinstance(value, kind)), None)
    return canonical(str(value) if plain is None else plain)
