"""A renderer of images that don't compress, so that a batch of them is an object of its own in Ray's store."""

from collections.abc import Sequence

import numpy as np

from spti_ray.config import EngineConfig
from spti_ray.types import ImageArray

SIDE = 200
"""About 120 KB as PNG."""


def image_of(seed: int) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


class LargeImages:
    def __init__(self, config: EngineConfig) -> None:
        pass

    def identity(self) -> dict[str, str]:
        return {"kind": "large-images", "model": "SIMULATED", "revision": "1"}

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray]:
        return [image_of(seed) for seed in seeds]
