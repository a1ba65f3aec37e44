"""One picture of a public "private" set, of texts that nobody voted for, and of a release.

    python -m jobs.side_by_side --private runs/shifted/travel-activities.parquet --without runs/RANDOM \\
        --release runs/SPTI --out side-by-side.png

It shows the private images themselves, so it is only for sets that are public, such as those of `jobs.shifted_sets`.
What is shown is drawn at random, with the same seed for each column, and nothing is picked by hand.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from spti_ray.io.files import write_atomic

COLUMNS, ROWS = 6, 5
"""Images of a panel."""

_TILE, _GAP, _BETWEEN, _TITLE = 64, 2, 22, 24


def of_table(path: Path, seed: int) -> list[Image.Image]:
    """A panel's images of a Parquet file, drawn at random."""
    encoded: Sequence[bytes] = [row["bytes"] for row in pq.read_table(path, columns=["image"])["image"].to_pylist()]
    return [Image.open(io.BytesIO(encoded[i])).convert("RGB") for i in _drawn(len(encoded), seed)]


def of_run(run: Path, seed: int) -> list[Image.Image]:
    """A panel's images of a run's release, drawn at random."""
    paths = sorted((run / "release").rglob("*.png"))
    return [Image.open(paths[i]).convert("RGB") for i in _drawn(len(paths), seed)]


def sheet(panels: dict[str, list[Image.Image]]) -> Image.Image:
    """The panels beside each other, each under its title."""
    width, height = COLUMNS * (_TILE + _GAP), ROWS * (_TILE + _GAP)
    picture = Image.new("RGB", (len(panels) * (width + _BETWEEN) - _BETWEEN, _TITLE + height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for number, (title, images) in enumerate(panels.items()):
        left = number * (width + _BETWEEN)
        draw.text((left + 2, 2), title, fill="#222222", font=font)
        for i, image in enumerate(images):
            place = left + (i % COLUMNS) * (_TILE + _GAP), _TITLE + (i // COLUMNS) * (_TILE + _GAP)
            picture.paste(image.resize((_TILE, _TILE), Image.Resampling.LANCZOS), place)
    return picture


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--private", type=Path, required=True, help="the Parquet file of the private images")
    parser.add_argument("--without", type=Path, required=True, help="a run with method: random")
    parser.add_argument("--release", type=Path, required=True, help="the run that is shown")
    parser.add_argument("--out", type=Path, required=True, help="the PNG")
    parser.add_argument("--titles", nargs=3, default=["private images", "nobody voted", "the release"])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    images = [of_table(given.private, given.seed), of_run(given.without, given.seed), of_run(given.release, given.seed)]
    shown = io.BytesIO()
    # Of 256 colours: a third of the size, and nobody sees it.
    picture = sheet(dict(zip(given.titles, images, strict=True))).quantize(256, dither=Image.Dither.NONE)
    picture.save(shown, "PNG", optimize=True)
    write_atomic(given.out, shown.getvalue())
    return 0


def _drawn(count: int, seed: int) -> list[int]:
    return random.Random(seed).sample(range(count), min(count, COLUMNS * ROWS))


if __name__ == "__main__":
    sys.exit(main())
