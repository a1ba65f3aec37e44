# pyright: strict
"""Columns of a folder of images: `metadata.jsonl` or `metadata.csv` in it, as Hugging Face's imagefolder has them.

A row names its image by `file_name`, relative to the folder. Names only ever find the image's row; a row that can't be
read counts as none, and of several that name one image the last counts, so that a record has one label and one group.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from spti_ray.places import Place
from spti_ray.private.tables import text

FILES = ("metadata.jsonl", "metadata.csv")
FILE_NAME = "file_name"


def find(folder: Place) -> Place | None:
    """The folder's file of columns, if it has one. Raises ValueError if it has both."""
    found = [file for name in FILES if (file := folder.file(name)).kind == "file"]
    if len(found) > 1:
        raise ValueError(f"has both {' and '.join(FILES)}; remove one")
    return found[0] if found else None


def columns(file: Place) -> list[str]:
    """Names of the columns: those of the first row."""
    for row in _rows(file):
        return list(row)
    return []


def cells(
    file: Place, names: Collection[str], label_column: str | None, group_column: str | None
) -> dict[str, tuple[str | None, str | None]]:
    """(label, group) of the named images, as text; None for what the row has not. Some hundred bytes an image."""
    found: dict[str, tuple[str | None, str | None]] = {}
    once: dict[str, str] = {}  # one string for all images of a label or group
    for row in _rows(file):
        name = row.get(FILE_NAME)
        if isinstance(name, str) and name in names:
            both = [text(row.get(column)) if column else None for column in (label_column, group_column)]
            label, group = (once.setdefault(value, value) if value else None for value in both)
            found[name] = label, group
    return found


def _rows(file: Place) -> Iterator[Mapping[str, Any]]:
    with file.open_stream() as stream:
        lines = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
        if file.name.endswith(".csv"):
            yield from csv.DictReader(lines)
            return
        for line in lines:
            try:
                row: object = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                yield cast("dict[str, Any]", row)
