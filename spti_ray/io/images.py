"""Reads public images wherever they are."""

from __future__ import annotations

from spti_ray.types import Image


def num_bytes(image: Image) -> int:
    """The length of its PNG."""
    return len(image) if isinstance(image, bytes) else image.num_bytes


def read_png(image: Image) -> bytes | memoryview:
    """Its PNG. Not on the driver's thread, which it could keep waiting. Raises ImageLost."""
    return image if isinstance(image, bytes) else image.read()
