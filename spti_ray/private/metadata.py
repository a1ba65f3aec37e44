# pyright: strict
"""Columns of a folder of images: its `metadata.jsonl` or `metadata.csv`, as in Hugging Face's imagefolder.

A row is a line, and names its image by `file_name`, relative to the folder; names are used only to find rows. A row
that can't be read, such as one with an unbalanced quote, costs its own image the columns and no other image anything.
(Cells with line breaks need jsonl.) Only a line feed ends a line; a carriage return before it belongs to the line end.
Rows that give one image different columns are refused: a record would depend on which of them counted.

A record is the image's file and its row. The first line of a csv, with the names of the columns, is no record's.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from spti_ray.io.object_storage import StoragePath
from spti_ray.private.damage import Damaged
from spti_ray.private.ids import canonical, json_object
from spti_ray.private.names import file_key

FILES = ("metadata.jsonl", "metadata.csv")
FILE_NAME = "file_name"

Cells = tuple[str | None, str | None]
"""An image's (label, group)."""


def find(folder: StoragePath) -> StoragePath | None:
    """The folder's file of columns, or None. Raises ValueError if it has both files."""
    found = [file for name in FILES if (file := folder.file(name)).kind == "file"]
    if len(found) > 1:
        raise ValueError(f"has both {' and '.join(FILES)}; remove one")
    return found[0] if found else None


def has_columns(file: StoragePath, columns: Collection[str]) -> set[str]:
    """Those of the columns that any row has (for a csv: the first line). A single record's row never decides alone."""
    missing = set(columns)
    for row in _rows(file):
        missing -= row.keys()
        if not missing or file.name.endswith(".csv"):
            break
    return set(columns) - missing


def cells(
    file: StoragePath, names: Collection[str], label_column: str | None, group_column: str | None
) -> dict[str, Cells]:
    """The labels and groups of images. Takes some hundred bytes of memory per image.

    Args:
        names: the images, as `file_key` writes their names.

    Returns:
        By such a name (label, group), each in its canonical form; None for what the row lacks.

    Raises:
        Damaged: two rows give one image different labels or groups.
    """
    found: dict[str, Cells] = {}
    once: dict[str, str] = {}  # one string for all images of a label or group
    for row in _rows(file):
        name = row.get(FILE_NAME)
        if isinstance(name, str) and (name := file_key(name)) in names:
            both = [canonical(row.get(column)) if column else None for column in (label_column, group_column)]
            label, group = (once.setdefault(value, value) if value else None for value in both)
            if found.setdefault(name, (label, group)) != (label, group):
                raise Damaged(f"two rows of {file.name} give one image different columns; leave one of them")
    return found


def _rows(file: StoragePath) -> Iterator[Mapping[str, Any]]:
    """The rows that can be read. For a csv the first one has the header's names as keys, and no values."""
    # Universal line ends would break a row at a carriage return in it. Python's csv module continues a quoted cell over
    # line ends, and limits the length of cells by a setting of the whole process.
    with file.open_stream() as stream:
        lines = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="\n")
        if not file.name.endswith(".csv"):
            yield from filter(None, map(json_object, lines))
            return
        header: list[str] | None = None
        for line in lines:
            row = split(line.removesuffix("\n").removesuffix("\r"))
            if header is None:
                header = row or []
                yield dict.fromkeys(header)
            elif row is not None:
                yield dict(zip(header, row, strict=False))


def split(line: str) -> list[str] | None:
    """Split a line of csv into cells, as Python's csv module does; None if a quote is not closed."""
    if '"' not in line:
        return line.split(",")
    found: list[str] = []
    at = 0
    while True:
        quoted: list[str] = []
        if line.startswith('"', at):
            while True:
                end = line.find('"', at + 1)
                if end < 0:
                    return None
                quoted.append(line[at + 1 : end])
                at = end + 1
                if not line.startswith('"', at):
                    break
                quoted.append('"')
        comma = line.find(",", at)
        found.append("".join(quoted) + (line[at:] if comma < 0 else line[at:comma]))
        if comma < 0:
            return found
        at = comma + 1
