# pyright: strict
"""WebDataset: tar files whose members `KEY.EXTENSION` with one key, one after the other, are one sample.

Members are read one after the other and never unpacked to disk; their names go nowhere.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from spti_ray.places import Place

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")

TOO_LARGE: Final = None
"""Stands for a member that is larger than may be read."""

Sample = Mapping[str, bytes | None]
"""From extension, in lower case and without its first dot, to the member's bytes, or TOO_LARGE."""


def samples(file: Place, wanted: Callable[[str], bool], limit: int) -> Iterator[Sample]:
    """The samples of a tar file in order, each with its members of the wanted extensions, of at most `limit` bytes.

    As WebDataset does, the key ends at the first dot of the file's name; hidden files, and all that is no regular file,
    are left out. The first of two members with one extension counts. Raises tarfile.TarError and OSError.
    """
    key: str | None = None
    sample: dict[str, bytes | None] = {}
    with file.open_stream() as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            folder, name = os.path.split(member.name)
            stem, dot, extension = name.partition(".")
            if not member.isfile() or not stem or not dot:
                continue
            if (found := f"{folder}/{stem}") != key:
                if key is not None:
                    yield sample
                key, sample = found, {}
            extension = extension.lower()
            if wanted(extension) and extension not in sample:
                # Of a stream, what is not read now is gone.
                opened = tar.extractfile(member) if member.size <= limit else None
                sample[extension] = TOO_LARGE if opened is None else opened.read()
    if key is not None:
        yield sample


def field(sample: Sample, name: str) -> str | None:
    """A sample's label or group: the text of the member with this extension, or this key of its `json`."""
    member = sample.get(name.lower())
    if member is not None:
        return member.decode("utf-8", "replace").strip() or None
    try:
        values: object = json.loads(sample.get("json") or b"{}")
    except ValueError:
        return None
    value: Any = cast("dict[str, Any]", values).get(name) if isinstance(values, dict) else None
    return None if value is None or isinstance(value, (dict, list)) else str(value)
