"""The images of a batch as one string of bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from spti_ray.io.images import read_png
from spti_ray.types import Image


def packed(images: Sequence[Image | None]) -> list[bytes | memoryview]:
    """The images of a batch as they are stored: how many, the length of each (-1: it is missing), and then they."""
    pngs = [None if image is None else read_png(image) for image in images]
    lengths = [-1 if png is None else memoryview(png).nbytes for png in pngs]
    return [struct.pack(f"<I{len(lengths)}q", len(lengths), *lengths), *(png for png in pngs if png is not None)]


def unpacked(stored: bytes) -> list[bytes | None]:
    """What `packed` has stored."""
    (count,) = struct.unpack_from("<I", stored)
    lengths = struct.unpack_from(f"<{count}q", stored, 4)
    images: list[bytes | None] = []
    start = 4 + 8 * count
    for length in lengths:
        images.append(None if length < 0 else stored[start : start + length])
        start += max(0, length)
    return images
