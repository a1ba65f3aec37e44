"""A renderer that has memorised private images: what a model trained on some of them may do. SIMULATED."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from spti_ray.config import EngineConfig
from spti_ray.models.fakes import FakeRenderer
from spti_ray.types import SIMULATED, ImageArray


class Memorised:
    """Draws what the fake renderer draws; where a text asks for it by its hash, one of the images in `model`."""

    def __init__(self, config: EngineConfig) -> None:
        self._honest = FakeRenderer(EngineConfig(kind="fake-renderer", model=SIMULATED))
        self._known = [np.asarray(Image.open(path)) for path in sorted(Path(config.model).glob("*.png"))]

    def identity(self) -> dict[str, str]:
        return {"kind": "planted", "model": SIMULATED, "revision": "1"}

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray]:
        drawn = list(self._honest.render(texts, seeds))
        for place, (text, seed) in enumerate(zip(texts, seeds, strict=True)):
            number = crc32(f"{text} {seed}".encode()) % (2 * len(self._known))
            if number < len(self._known):
                drawn[place] = self._known[number]
        return drawn

    def close(self) -> None:
        pass
