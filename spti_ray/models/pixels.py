"""Public images as PNG, the form in which they are kept and travel: every pixel as it was, in fewer bytes."""

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
