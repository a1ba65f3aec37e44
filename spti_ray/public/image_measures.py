"""What the filters of a release measure of an image: how much of it is one colour, and a thumbnail."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image as PillowImage

from spti_ray.io.images import read_png
from spti_ray.models.pixels import from_png
from spti_ray.types import FloatArray, Image, ImageArray

THUMBNAIL_SIDE = 8


@dataclass(frozen=True)
class ImageMeasures:
    """An image and its measures.

    `deviation`: the largest standard deviation of a colour channel over the pixels, 0 to 127.5. `thumbnail`: float32
    [192], the levels 0 to 255 of its 8 x 8 pixels, whole numbers.
    """

    png: bytes = field(repr=False)
    deviation: float
    thumbnail: FloatArray = field(repr=False)


def measure(image: Image) -> ImageMeasures:
    """Read an image, wherever it is, and measure it. Not on the driver's thread.

    Raises:
        ImageLost: it was lost with the machine that it was on.
    """
    png = bytes(read_png(image))
    pixels_HWC = from_png(png)
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small = PillowImage.fromarray(pixels_HWC).resize(size, PillowImage.Resampling.BOX)
    return ImageMeasures(png, _deviation(pixels_HWC), np.asarray(small, dtype=np.float32).reshape(-1))


def _deviation(pixels_HWC: ImageArray) -> float:
    return max(_of_channel(pixels_HWC[:, :, channel]) for channel in range(pixels_HWC.shape[2]))


def _of_channel(levels_HW: ImageArray) -> float:
    """By whole numbers up to the root, so that a threshold sees the same on every machine."""
    counts = np.bincount(levels_HW.reshape(-1), minlength=256).tolist()
    total = sum(counts)
    first = sum(level * count for level, count in enumerate(counts))
    second = sum(level * level * count for level, count in enumerate(counts))
    return math.sqrt(total * second - first * first) / total
