# pyright: strict
"""Whether a column of labels or groups has one type in all files of a data set, from their schemas alone.

If a column is an integer in one file and a float in another (a writer met a gap), one unit may have two names, so such
files are refused. Types count as one if equal values provably have one canonical form: integers of any width, text and
bytes of any layout, decimals of any scale, a dictionary and its values. A column of nulls alone fits every type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow.types as _types_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.private.tables import class_names

# PyArrow ships no types.
types: Any = _types_untyped

_TEXTS = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "fixed_size_binary")


def one_type(schemas: Iterable[Any], column: str) -> bool:
    """Whether the column has one type in all schemas that have it."""
    found = {_family(schema, column) for schema in schemas if column in schema.names}
    return len(found - {None}) <= 1


def _family(schema: Any, column: str) -> str | None:
    kind = schema.field(column).type
    while types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_null(kind):
        return None
    if types.is_integer(kind):
        # Class numbers are compared by the classes' names.
        return "integer" if class_names(schema, column) is None else "class"
    if any(getattr(types, f"is_{text}")(kind) for text in _TEXTS):
        return "text"
    return "decimal" if types.is_decimal(kind) else str(kind)
