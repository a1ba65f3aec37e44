# pyright: strict
"""The meaning of file and folder names: labels, Hive partitions, and the image that a row of columns belongs to.

Each result depends on one name alone.
"""

from __future__ import annotations

import os
import unicodedata
from urllib.parse import unquote

from spti_ray.private.ids import canonical

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def first_folder(relative: str) -> str | None:
    """The first folder of a relative path as a label, in canonical form; None without a folder."""
    folder, slash, _ = relative.partition("/")
    return canonical(folder) if slash else None


def file_key(name: str) -> str:
    """One form for all ways in which a table may write the relative path of a file beside it.

    NFC, with slashes, without `./`, and the ending in lower case.
    """
    parts = unicodedata.normalize("NFC", name).strip().replace("\\", "/").split("/")
    stem, ending = os.path.splitext("/".join(part for part in parts if part not in ("", ".")))
    return stem + ending.lower()


def partitions(relative: str) -> dict[str, str | None]:
    """The columns in a Parquet file's path, as Hive writes them (`label=cat/part-0.parquet`), in canonical form."""
    pairs = (part.partition("=") for part in relative.split("/")[:-1])
    return {
        unquote(column): None if value == _NULL_PARTITION else canonical(unquote(value))
        for column, equals, value in pairs
        if equals and column
    }
