# pyright: strict
"""What names of files and folders mean: labels, partitions, and the image that a row of columns is about.

Each result depends on that one name alone.
"""

from __future__ import annotations

import os
import unicodedata
from urllib.parse import unquote

from spti_ray.private.ids import canonical

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def first_folder(relative: str) -> str | None:
    """The first folder of a path, as a label."""
    folder, slash, _ = relative.partition("/")
    return canonical(folder) if slash else None


def file_key(name: str) -> str:
    """One form for all ways in which a table may write the relative path of a file beside it: composed, with slashes,
    without `./`, and the ending in lower case."""
    parts = unicodedata.normalize("NFC", name).strip().replace("\\", "/").split("/")
    stem, ending = os.path.splitext("/".join(part for part in parts if part not in ("", ".")))
    return stem + ending.lower()


def partitions(relative: str) -> dict[str, str | None]:
    """The columns of a Parquet file that are in its path, as Hive writes them: `label=cat/part-0.parquet`."""
    pairs = (part.partition("=") for part in relative.split("/")[:-1])
    return {
        unquote(column): None if value == _NULL_PARTITION else canonical(unquote(value))
        for column, equals, value in pairs
        if equals and column
    }
