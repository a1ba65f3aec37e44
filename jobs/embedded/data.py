"""The training data: icons rasterised in several styles, with what their captions are made of.

    python -m jobs.embedded.data --work runs/embedded

downloads the icon sets and leaves `icons.parquet` (a row per icon) and `pixels.npy` (uint8, [icons, STYLES, SIZE, SIZE,
3]; style 0 is the vendor's own) in the working folder. About six minutes on two cores, and nothing if it is there.
"""

from __future__ import annotations

import colorsys
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.embedded.command import parser
from jobs.embedded.icons import Icon, fetch, rasterise, read_icons, restyled

SIZE = 96
"""Pixels per side as stored: more than the models' 64, so that training can crop, turn and scale."""

STYLES = 6

COLOURS = ("black", "white", "gray", "brown", "red", "orange", "yellow", "green", "blue", "purple", "pink")
"""The words of `colour_word`."""


@dataclass(frozen=True)
class Data:
    """All icons. Columns are parallel: names, groups, subgroups, keywords, colours, sources, drawn."""

    names: Sequence[str]
    groups: Sequence[str]
    subgroups: Sequence[str]
    keywords: Sequence[Sequence[str]]
    colours: Sequence[str]
    sources: Sequence[str]
    drawn: np.ndarray
    pixels: np.ndarray


def load(work: Path) -> Data:
    """What `make` left; FileNotFoundError if it was not run."""
    table = pq.read_table(work / "icons.parquet").to_pydict()
    pixels = np.load(work / "pixels.npy", mmap_mode="r")
    return Data(**{**table, "drawn": np.array(table["drawn"])}, pixels=pixels)


def make(work: Path) -> None:
    """Fetch and rasterise; a rasterisation that was cut short starts again."""
    if (work / "icons.parquet").exists():
        return
    fetch(work / "npm")
    icons = list(read_icons(work / "npm"))
    shape = (len(icons), STYLES, SIZE, SIZE, 3)
    partial = work / "pixels.partial.npy"
    pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    kept: list[int] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for index, drawings in enumerate(pool.map(draw, icons, chunksize=32)):
            pixels[index] = drawings
            if drawings[0].min() < 200:  # a drawing that came out white tells nothing
                kept.append(index)
            if index % 1000 == 0:
                print(f"{index} of {len(icons)} icons", flush=True)
    np.save(work / "pixels.npy", pixels[kept])
    partial.unlink()
    rows = [icons[index] for index in kept]
    table = pa.table(
        {
            "names": [icon.emoji.name for icon in rows],
            "groups": [icon.emoji.group for icon in rows],
            "subgroups": [icon.emoji.subgroup for icon in rows],
            "keywords": [icon.emoji.keywords for icon in rows],
            "colours": [colour_word(pixels[index, 0]) for index in kept],
            "sources": [icon.source for icon in rows],
            "drawn": [icon.drawn for icon in rows],
        }
    )
    pq.write_table(table, work / "icons.partial.parquet")
    os.replace(work / "icons.partial.parquet", work / "icons.parquet")
    sources = dict(Counter(icon.source for icon in rows))
    print(f"{len(rows)} icons of {len({icon.emoji.name for icon in rows})} names: {sources}")


def draw(icon: Icon) -> np.ndarray:
    """[STYLES, SIZE, SIZE, 3]: the vendor's drawing and others, the same in every run."""
    generator = np.random.default_rng(list(f"{icon.source} {icon.emoji.name}".encode()))
    drawings = [rasterise(icon.svg, SIZE)]
    while len(drawings) < STYLES:
        try:
            drawings.append(rasterise(restyled(icon.svg, generator), SIZE))
        except ValueError:  # an SVG feature or colour that the tools do not know: the vendor's own will do
            drawings.append(drawings[0])
    return np.stack(drawings)


def colour_word(image: np.ndarray) -> str:
    """The colour that covers most of what is not white paper, in plain English."""
    pixels = image.reshape(-1, 3)
    pixels = pixels[pixels.min(axis=1) < 235]
    words = Counter(_word(*(colorsys.rgb_to_hsv(*(part / 255 for part in pixel)))) for pixel in pixels[::7].tolist())
    return words.most_common(1)[0][0] if words else "white"


def _word(hue: float, saturation: float, value: float) -> str:
    if value < 0.2:
        return "black"
    if saturation < 0.15:
        return "white" if value > 0.85 else "gray"
    degrees = 360 * hue
    if 12 <= degrees < 45 and value < 0.7:
        return "brown"
    bounds = (
        (12, "red"),
        (40, "orange"),
        (68, "yellow"),
        (165, "green"),
        (255, "blue"),
        (290, "purple"),
        (345, "pink"),
    )
    return next((word for bound, word in bounds if degrees < bound), "red")


if __name__ == "__main__":
    make(parser(__doc__).parse_args().work)
