"""SIMULATED engines for the filters of a release: a renderer that plants bad renders, and embedders with one space.

Options of the renderer: `blank`, `same`, `other`, `none`: the share of renders that are of one colour, one and the same
picture, a picture of another text, or not made at all. Which these are depends on text and seed alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from spti_ray.config import EngineConfig
from spti_ray.types import SIMULATED, FloatArray, ImageArray

SIDE = 32


def colour_of(text: str) -> tuple[int, int, int]:
    """Each text has a colour of its own, which all of its pictures are full of."""
    rng = random.Random(text)
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def picture(text: str, seed: int) -> ImageArray:
    """Four pale patches on the colour of the text."""
    rng, image = random.Random(f"{text} {seed}"), Image.new("RGB", (SIDE, SIDE), colour_of(text))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = rng.randrange(SIDE - 8), rng.randrange(SIDE - 8)
        pen.rectangle((x, y, x + 8, y + 8), fill=tuple(255 - level for level in colour_of(text)))
    return np.asarray(image, dtype=np.uint8)


class _Simulated:
    def __init__(self, config: EngineConfig):
        self.config = config

    def identity(self) -> dict[str, str]:
        return {"kind": self.config.kind, "model": SIMULATED, "revision": "1"}


class PlantingRenderer(_Simulated):
    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray | None]:
        return [self._one(text, seed) for text, seed in zip(texts, seeds, strict=True)]

    def vary(
        self, images: Sequence[ImageArray], texts: Sequence[str], seeds: Sequence[int], strength: float
    ) -> list[ImageArray | None]:
        return self.render(texts, seeds)

    def _one(self, text: str, seed: int) -> ImageArray | None:
        drawn = random.Random(f"bad {text} {seed}").random()
        for what, share in self.config.options.items():
            if drawn < share:
                return self._bad(what, seed)
            drawn -= share
        return picture(text, seed)

    def _bad(self, what: str, seed: int) -> ImageArray | None:
        if what == "none":
            return None
        if what == "blank":
            return np.full((SIDE, SIDE, 3), seed % 256, np.uint8)
        return picture("the one" if what == "same" else f"another text {seed}", 0 if what == "same" else seed)


class JointImages(_Simulated):
    """Embeds a picture as the colour that it has most of."""

    def embed_images(self, images: Sequence[ImageArray]) -> FloatArray:
        medians = [np.median(image.reshape(-1, 3), axis=0) for image in images]
        return _rows(np.asarray(medians, np.float32).reshape(-1, 3))


class JointTexts(_Simulated):
    """Embeds a text as its colour."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        return _rows(np.asarray([colour_of(text) for text in texts], np.float32).reshape(-1, 3))


def _rows(levels_B3: FloatArray) -> FloatArray:
    rows = np.concatenate([levels_B3 - 127.5, np.full((len(levels_B3), 1), 20.0, np.float32)], axis=1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class NarrowImages(JointImages):
    """Has another space than the texts."""

    def embed_images(self, images: Sequence[ImageArray]) -> FloatArray:
        return super().embed_images(images)[:, :3]
