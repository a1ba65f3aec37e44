"""One picture of public "private" sets, of what is drawn where nobody votes, and of releases.

    python -m jobs.side_by_side --private runs/shifted/travel-activities.parquet --without runs/RANDOM \\
        --release runs/SPTI --out side-by-side.png

Of several sets, each option has as many values, in the same order. The picture shows private images as they are, so it
is only for sets that are public, such as those of `jobs.shifted_sets`. What is shown is drawn at random, with one seed,
and nothing is picked by hand.
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

COLUMNS, ROWS = 6, 3
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


def strip(panels: dict[str, list[Image.Image]]) -> Image.Image:
    """The panels of one set beside each other, each under its title."""
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


def sheet(strips: Sequence[Image.Image]) -> Image.Image:
    """The strips of all sets, one below the other."""
    height = strips[0].height + _BETWEEN
    picture = Image.new("RGB", (strips[0].width, len(strips) * height - _BETWEEN), "white")
    for number, of_set in enumerate(strips):
        picture.paste(of_set, (0, number * height))
    return picture


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--private", type=Path, nargs="+", required=True, help="Parquet files of private images")
    parser.add_argument("--without", type=Path, nargs="+", required=True, help="runs with method: random")
    parser.add_argument("--release", type=Path, nargs="+", required=True, help="the runs that are shown")
    parser.add_argument("--out", type=Path, required=True, help="the PNG")
    parser.add_argument("--titles", nargs=2, default=["nobody voted", "the release"], help="of the last two")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if not len(given.private) == len(given.without) == len(given.release):
        parser.error("--private, --without and --release: give as many of each")
    strips: list[Image.Image] = []
    for private, without, release in zip(given.private, given.without, given.release, strict=True):
        images = [of_table(private, given.seed), of_run(without, given.seed), of_run(release, given.seed)]
        strips.append(strip(dict(zip((f"private: {private.stem}", *given.titles), images, strict=True))))
    shown = io.BytesIO()
    # Of 256 colours: a third of the size, and nobody sees it.
    sheet(strips).quantize(256, dither=Image.Dither.NONE).save(shown, "PNG", optimize=True)
    write_atomic(given.out, shown.getvalue())
    return 0


def _drawn(count: int, seed: int) -> list[int]:
    return random.Random(seed).sample(range(count), min(count, COLUMNS * ROWS))


if __name__ == "__main__":
    sys.exit(main())
