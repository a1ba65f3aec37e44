# pyright: strict
"""Which units are held out (`data.holdout`): they never vote, are never captioned, trained on or counted.

Formal guarantee: whether a unit is held out is a function of that unit and of public settings alone. A group is known
by its name, a record by the bytes of its image: its position in the data would change when another record goes.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Part = Literal["voting", "held out"]
"""Which units of a data set are read: those that vote, or those that are held out."""

HELD_OUT, NOT_HELD_OUT = "held out", "not held out"
"""Problems of a record beside those of `record`: it belongs to the other part. Such a record is not decoded."""

_KEY = b"spti-ray held out 1"
"""Public: the hash has to be even, and not secret."""


def is_held_out(share: float, kind: Literal["group", "record"], content: bytes) -> bool:
    """Whether a unit is held out, which is so for this share of all units, each by itself.

    Args:
        share: from 0 (none) to 1.
        kind: what `content` is: a group's name, or a record's encoded image.
    """
    digest = hashlib.blake2b(kind.encode() + b"\0" + content, key=_KEY, digest_size=8).digest()
    return int.from_bytes(digest, "big") < int(share * 2**64)
