# pyright: strict
"""One private record: from what a reader found to pixels, or to the reason why it casts no vote.

What is decided here depends on that record and on public settings alone. Labels and groups are compared in one
canonical form (`ids`), whatever the format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import StoragePath
from spti_ray.private.decode import Undecodable, decode
from spti_ray.private.encoded import Encoded, max_file_bytes, read
from spti_ray.private.holdout import HELD_OUT, NOT_HELD_OUT, Part, is_held_out
from spti_ray.private.ids import label_by_id
from spti_ray.private.kinds import Unit
from spti_ray.types import SINGLE_LABEL, ImageArray

UNLISTED_LABEL = "no listed label"
MISSING_GROUP = "no group"
"""Problems of a record beside those of its image: a fixed vocabulary without content."""

Decoder = Callable[[bytes, DataConfig], ImageArray]
"""From an encoded image and public settings to RGB pixels, uint8 [H, W, 3]. Raises `Undecodable` alone."""


def decode_image(encoded: bytes, data: DataConfig) -> ImageArray:
    """Decode a PNG, JPEG, WebP, GIF, BMP or TIFF image. Raises `Undecodable`."""
    return decode(encoded, data.max_pixels, data.window)


@dataclass(frozen=True, repr=False)
class Record:
    """PRIVATE: one record.

    `index` is its id in the data set (see `dataset`), `image` is uint8 [H, W, 3] RGB. For a record that casts no vote
    `image` is None, and `problem` says why in words from a fixed vocabulary. The last three are for a `survey` alone:
    where the record is, the bytes of its image as far as they were read, and a label that the configuration does not
    list.
    """

    index: int
    label: str | None
    group: str | None
    image: ImageArray | None
    problem: str | None = None
    name: str = ""
    encoded: bytes = b""
    unlisted: str | None = None

    def __repr__(self) -> str:
        return "<Record: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("Records are private and are never pickled")


def make_record(
    index: int,
    label: str | None,
    group: str | None,
    unit: Unit,
    label_names: tuple[str, ...],
    encoded: Encoded,
    data: DataConfig,
    name: str = "",
    decoder: Decoder = decode_image,
    part: Part = "voting",
) -> Record:
    """Check a record's label and group, then read and decode its image.

    Args:
        label, group: in their canonical form. The record gets the configured label that has the same form.
        label_names: the configured labels; ("all",) gives every record the label "all", () keeps labels as found.
        encoded: the image's bytes, the file that holds them, or the problem with it.
        name: where the record is, for its owner.
        decoder: of the format's images.
        part: which part of the data is read; a record of the other one has that as its problem.
    """
    found = label
    if label_names == (SINGLE_LABEL,):
        label = SINGLE_LABEL
    elif label_names:
        label = label_by_id(label_names).get(label or "")
    if label_names and label is None:
        return Record(index, None, group, None, UNLISTED_LABEL, name, unlisted=found)
    if unit == "group" and group is None:
        return Record(index, label, None, None, MISSING_GROUP, name)
    if isinstance(encoded, StoragePath):
        encoded = read(encoded, max_file_bytes(data.max_pixels))
    if isinstance(encoded, str):
        return Record(index, label, group, None, encoded, name)
    if elsewhere := _of_the_other_part(data.holdout, part, group if unit == "group" else None, encoded):
        return Record(index, label, group, None, elsewhere, name)
    try:
        return Record(index, label, group, decoder(encoded, data), None, name, encoded)
    except Undecodable as error:
        return Record(index, label, group, None, error.reason, name, encoded)


def _of_the_other_part(share: float, part: Part, group: str | None, encoded: bytes) -> str | None:
    """Why a record is not read: it is held out, or what is held out is read and it is not. None if it is read."""
    if not share and part == "voting":
        return None
    if group is not None:
        held_out = is_held_out(share, "group", group.encode("utf-8", "surrogatepass"))
    else:
        held_out = is_held_out(share, "record", encoded)
    if held_out == (part == "held out"):
        return None
    return HELD_OUT if held_out else NOT_HELD_OUT
