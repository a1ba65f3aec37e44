"""Private data sets with a canary wherever an image file can carry text: names, metadata, comments and pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.taint.scan import CORE

_DESCRIPTION, _EXIF_FOLDER, _USER_COMMENT = 0x010E, 0x8769, 0x9286
LISTED, UNLISTED = "toys", f"{CORE}folder"
NUM_GROUPS = 5


def _picture(number: int) -> Image.Image:
    """A flat colour whose first pixels spell a canary: zeros end it."""
    rng = np.random.default_rng(number)
    pixels = np.full((24, 24, 3), rng.integers(40, 220, 3), dtype=np.uint8)
    text = f"{CORE}pixels{number}".encode() + b"\0\0\0"
    pixels.reshape(-1)[: len(text)] = np.frombuffer(text, dtype=np.uint8)
    return Image.fromarray(pixels)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[_DESCRIPTION] = f"{CORE}description"
    exif.get_ifd(_EXIF_FOLDER)[_USER_COMMENT] = b"ASCII\0\0\0" + f"{CORE}comment".encode()
    return exif


def _chunks() -> PngInfo:
    chunks = PngInfo()
    chunks.add_text("Title", f"{CORE}text")
    chunks.add_text("Comment", f"{CORE}compressed", zip=True)
    chunks.add_itxt("Author", f"{CORE}international é")
    return chunks


def encoded(number: int, kind: str = "png") -> bytes:
    """One good image file, full of canaries."""
    options: dict[str, Any] = {
        "png": {"format": "PNG", "pnginfo": _chunks(), "exif": _exif()},
        "jpg": {"format": "JPEG", "exif": _exif(), "comment": f"{CORE}jpeg comment"},
        "tif": {"format": "TIFF", "exif": _exif(), "compression": "tiff_deflate"},
        "gif": {"format": "GIF", "comment": f"{CORE}gif comment".encode()},
        "bmp": {"format": "BMP"},
        "webp": {"format": "WEBP", "lossless": True, "exif": _exif(), "xmp": f"<x>{CORE}xmp</x>".encode()},
    }[kind]
    buffer = io.BytesIO()
    _picture(number).save(buffer, **options)
    return buffer.getvalue()


def plant_folder(folder: Path) -> None:
    """A folder with sub-folders for labels, one of them listed, and damaged files among good ones."""
    (folder / LISTED / f"{CORE}deeper é").mkdir(parents=True)
    (folder / UNLISTED).mkdir()
    for number, kind in enumerate(["png", "jpg", "tif", "gif", "bmp", "webp"] * 4):
        place = folder / LISTED / (f"{CORE}deeper é" if number % 5 == 4 else "")
        (place / f"{CORE}name {number:02d} %é.{kind}").write_bytes(encoded(number, kind))
    (folder / UNLISTED / f"{CORE}name.png").write_bytes(encoded(90))
    whole = {kind: encoded(91, kind) for kind in ("png", "jpg", "tif", "gif", "webp")}
    for kind, data in whole.items():
        (folder / LISTED / f"{CORE}cut.{kind}").write_bytes(data[: len(data) * 2 // 3])
        middle = len(data) // 2
        (folder / LISTED / f"{CORE}torn.{kind}").write_bytes(data[:middle] + b"\xff\0" + data[middle + 2 :])
    (folder / LISTED / f"{CORE}words.png").write_text(f"{CORE}words, and no image")
    (folder / LISTED / f"{CORE}locked.png").mkdir()
    (folder / LISTED / f"{CORE}nowhere.png").symlink_to(f"/{CORE}/nowhere")


def plant_parquet(path: Path) -> None:
    """Records of a few groups that are named by canaries, and a column that no run may read."""
    images = [encoded(number, ["png", "bmp"][number % 2]) for number in range(20)]
    images[7] = f"{CORE}bytes".encode()
    groups = [f"{CORE}group {number % NUM_GROUPS}" for number in range(20)]
    notes = [f"{CORE}notes {number}" for number in range(20)]
    pq.write_table(pa.table({"image": images, "who": groups, "notes": notes}), path)
