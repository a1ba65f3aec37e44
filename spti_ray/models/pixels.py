"""Encodes images as PNG, which keeps every pixel, decodes them, and makes large ones smaller."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from spti_ray.types import ImageArray


def to_png(image_HWC: ImageArray) -> bytes:
    """Encode an HWC uint8 RGB image as PNG, in which public images are stored and sent."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()


def from_png(png: bytes) -> ImageArray:
    """Decode a PNG to HWC uint8 RGB, in memory that nobody else uses."""
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGB"))


def shrink_to_side(image_HWC: ImageArray, side: int | None) -> ImageArray:
    """The image, made smaller if it is higher or wider than `side` pixels. None: it stays as it is."""
    if side is None or max(image_HWC.shape[:2]) <= side:
        return image_HWC
    smaller = Image.fromarray(image_HWC)
    smaller.thumbnail((side, side), Image.Resampling.BICUBIC)
    return np.asarray(smaller)
