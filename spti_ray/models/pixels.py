"""Images as PNG, the form in which public ones are kept and travel: every pixel as it was, in fewer bytes; and smaller
ones."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from spti_ray.types import ImageArray


def to_png(image_HWC: ImageArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()


def from_png(png: bytes) -> ImageArray:
    """HWC uint8 RGB; its memory is the caller's own."""
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGB"))


def shrink_to_side(image_HWC: ImageArray, side: int | None) -> ImageArray:
    """The image, made smaller if it is more than `side` pixels high or wide."""
    if side is None or max(image_HWC.shape[:2]) <= side:
        return image_HWC
    smaller = Image.fromarray(image_HWC)
    smaller.thumbnail((side, side), Image.Resampling.BICUBIC)
    return np.asarray(smaller)
