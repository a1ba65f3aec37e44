# pyright: strict
"""The canonical form of labels and groups, the same in every data format, so that one unit never has two names.

Text is UTF-8 (bytes are decoded) in Unicode's NFC, without white space, NULs and byte order marks around it. Whole
numbers become integers, whether they are stored as integers, floats, decimals or text with only zeros after the point.
Case counts. Null, NaN, infinity, the empty text, lists and structs are no id. Everything else is what Python writes for
it. The form depends on the value alone, and no value makes it raise.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

_AROUND = "\0\ufeff\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")

_LONGEST = 4096
"""Longest text that is normalised to NFC, in characters: some texts take quadratic time, and no id is so long."""

_MOST_DIGITS = 1000


def canonical(value: object) -> str | None:
    """The canonical form of a label or group as a reader found it; None if the value is no id."""
    try:
        return _form(value) or None
    except Exception:  # noqa: BLE001 one record's value must not stop the others
        return None


def _form(value: Any) -> str | None:
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        # Bytes that are not UTF-8 are kept, so that two names in Latin-1 stay two.
        return _of_text(bytes(cast("bytes", value)).decode("utf-8", "surrogateescape"))
    if value is None or isinstance(value, (dict, list, tuple, set)):
        return None
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(float(value))
    if isinstance(value, Decimal):
        return _of_decimal(value)
    # Scalars of PyArrow and NumPy.
    for plain in ("as_py", "item"):
        if callable(convert := getattr(value, plain, None)):
            return _form(convert())
    return _of_text(str(value))


def _of_text(text: str) -> str:
    if len(text) <= _LONGEST:
        text = unicodedata.normalize("NFC", text)
    text = text.strip(_AROUND)
    # Tables made from text often have floats where a column of whole numbers had a gap.
    whole = _WHOLE.fullmatch(text)
    return ("0" if whole[1] == "-0" else whole[1]) if whole else text


def _of_decimal(value: Decimal) -> str | None:
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS:
        return None
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


@lru_cache(maxsize=16)
def label_by_id(names: tuple[str, ...]) -> Mapping[str, str]:
    """From the canonical form of each configured label to the label as configured."""
    return {canonical(name) or name: name for name in names}


def first_equal_pair(names: Sequence[str]) -> tuple[str, str] | None:
    """The first two configured labels with the same canonical form; None if all differ."""
    seen: dict[str, str] = {}
    for name in names:
        if (before := seen.setdefault(canonical(name) or name, name)) is not name:
            return before, name
    return None


def json_object(written: str | bytes) -> dict[str, Any] | None:
    """Parse a JSON object; None for anything else. Of a repeated key the last value counts.

    Nothing that a record holds makes it raise, neither deep nesting nor long numbers.
    """
    try:
        values: object = json.loads(written)
    except (ValueError, RecursionError, MemoryError):
        return None
    return cast("dict[str, Any]", values) if isinstance(values, dict) else None
