# pyright: strict
"""Columns of a folder of images: `metadata.jsonl` or `metadata.csv` in it, as Hugging Face's imagefolder has them.

A row is a line, and names its image by `file_name`, relative to the folder. Names only ever find the image's row. A
row that can't be read, such as one with an unbalanced quote, costs its image the columns and no other: whoever needs
line breaks in a cell takes jsonl. Only a line feed ends a line (a carriage return before it belongs to it). Rows that
give one image different columns are refused, since whichever counted would be a row that another record may have lost.

The record of an image is its file and its row. A csv's first line, with the names of the columns, is no record's.
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
    """The folder's file of columns, if it has one. Raises ValueError if it has both."""
    found = [file for name in FILES if (file := folder.file(name)).kind == "file"]
    if len(found) > 1:
        raise ValueError(f"has both {' and '.join(FILES)}; remove one")
    return found[0] if found else None


def has_columns(file: StoragePath, columns: Collection[str]) -> set[str]:
    """Which of the columns any row has (of a csv, its first line). No single row decides, since a row is a record's."""
    missing = set(columns)
    for row in _rows(file):
        missing -= row.keys()
        if not missing or file.name.endswith(".csv"):
            break
    return set(columns) - missing


def cells(
    file: StoragePath, names: Collection[str], label_column: str | None, group_column: str | None
) -> dict[str, Cells]:
    """(label, group) of the named images; None for what the row has not. Some hundred bytes an image.

    `names`, and the keys of what is returned: forms of `file_key`. Raises Damaged if two rows give one image different
    ones.
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
    """The rows that can be read, a csv's beginning with one that has its header's names alone."""
    # Universal line ends would break a row at a carriage return in it; Python's csv reads on over line ends in quotes,
    # and has a limit on cells that only a setting of the whole process changes.
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
    """The cells of a line of csv, as Python's csv takes it apart; None if a quote in it is not closed."""
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
