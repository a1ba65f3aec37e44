"""Sample sheets: what a person looks at before believing a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SCALE = 2
"""Pictures are shown at twice their size."""

PER_ROW = 12


def pairs(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> Image.Image:
    """Each image of `first` above the one of `second`."""
    tiles = [np.concatenate([above, below]) for above, below in zip(first, second, strict=True)]
    return _grid([_enlarged(tile) for tile in tiles])


def captioned(images: Sequence[np.ndarray], texts: Sequence[str]) -> Image.Image:
    """Each image above its text."""
    return _grid([_with_text(_enlarged(image), text) for image, text in zip(images, texts, strict=True)])


def _enlarged(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((image.shape[1] * SCALE, image.shape[0] * SCALE), Image.Resampling.NEAREST)


def _with_text(image: Image.Image, text: str) -> Image.Image:
    tile = Image.new("RGB", (image.width, image.height + 26), "white")
    tile.paste(image, (0, 0))
    lines = textwrap.wrap(text, width=image.width // 6)[:2]
    ImageDraw.Draw(tile).multiline_text((2, image.height), "\n".join(lines), fill="black", spacing=1)
    return tile


def _grid(tiles: Sequence[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    columns = min(PER_ROW, len(tiles))
    sheet = Image.new("RGB", (columns * (width + 4), -(-len(tiles) // columns) * (height + 4)), "#dddddd")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, ((index % columns) * (width + 4) + 2, (index // columns) * (height + 4) + 2))
    return sheet
