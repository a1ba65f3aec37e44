# pyright: strict
"""From the bytes of one private image file to pixels.

Promises: the result depends on the bytes (and public settings) alone; images over the pixel limit are refused from
their header, before their pixels are allocated; no exception, warning or log line carries content, metadata or a file
name.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from spti_ray.private.depth import Window, deep_samples, has_deep_samples, to_8_bits
from spti_ray.types import ImageArray

Reason = Literal[
    "empty file",
    "not an image",
    "too many pixels",
    "truncated or corrupt",
    "unsupported pixel format",
    "unknown compression",
    "several frames",
    "no such frame",
]
"""The last three are of DICOM files alone."""

# The formats of IMAGE_SUFFIXES and no more: Pillow's other plugins (one starts Ghostscript) are never tried.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_ORIENTATION = 0x0112
_TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NO_LIMIT = 2**40  # of what was decoded within one
_pillow_lock = threading.Lock()

# Pillow's debug lines print TIFF tags and PNG chunks, which are private.
logging.getLogger("PIL").setLevel(logging.CRITICAL)


class Undecodable(ValueError):
    """The bytes are not a usable image; `reason` says why in words from a fixed vocabulary."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def decode(data: bytes, max_pixels: int, window: Window | None = None) -> ImageArray:
    """Decode an image, or the first frame of an animated one.

    Transparency is composited on white and EXIF orientation is applied. Grey samples of more than 8 bits are scaled to
    8 bits; see `depth`.

    Args:
        window: the samples that become black and white, a public setting; None: chosen from the image itself.

    Returns:
        RGB pixels, uint8 [H, W, 3].

    Raises:
        Undecodable: the bytes are no usable image, or hold more than `max_pixels`. Nothing else is raised.
    """
    # The reason is raised outside of the `except` blocks, so that no Pillow exception hangs on it as context.
    reason: Reason
    if not data:
        reason = "empty file"
    else:
        try:
            return _decode(data, max_pixels, window)
        except Undecodable as error:
            reason = error.reason
        except (Image.DecompressionBombWarning, Image.DecompressionBombError, MemoryError):
            reason = "too many pixels"
        except Exception:  # noqa: BLE001 Pillow raises dozens of types on malformed bytes
            reason = "truncated or corrupt"
    raise Undecodable(reason)


_FORMATS_IN_WORDS = {
    "1": "black and white",
    "L": "8-bit grey",
    "LA": "8-bit grey with transparency",
    "P": "8-bit palette",
    "PA": "8-bit palette with transparency",
    "RGB": "8-bit colour",
    "RGBA": "8-bit colour with transparency",
    "CMYK": "8-bit CMYK",
    "YCbCr": "8-bit YCbCr",
    "LAB": "8-bit L*a*b*",
    "F": "grey floats",
}
"""By Pillow's mode. Colours of 16 bits are read as 8-bit ones."""


def pixel_format(data: bytes) -> tuple[str, bool]:
    """The file format and the pixels of an image that `decode` takes, in words, and whether a window is about it.

    From its header alone; ("", False) for what is no image.
    """
    with suppress(Exception), strict_pillow(_NO_LIMIT), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        deep = has_deep_samples(image)
        words = _FORMATS_IN_WORDS.get(image.mode, "grey of more than 8 bits" if deep else image.mode)
        return f"{image.format}, {words}", deep
    return "", False


def _decode(data: bytes, max_pixels: int, window: Window | None) -> ImageArray:
    if _webp_pixels(data) > max_pixels:
        raise Undecodable("too many pixels")
    with strict_pillow(max_pixels):
        try:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise
        except Exception:  # noqa: BLE001 as above
            raise Undecodable("not an image") from None
        with image:
            if image.width * image.height > max_pixels:
                raise Undecodable("too many pixels")
            image.load()
            rgb = _to_rgb(image, data, window)
            turn = _TURNS.get(_orientation(image))
            if turn is not None:
                rgb = rgb.transpose(turn)
            return np.array(rgb, dtype=np.uint8)


@contextmanager
def strict_pillow(max_pixels: int) -> Generator[None]:
    """Set Pillow's process-wide switches as this module needs them, whatever other libraries set them to."""
    with _pillow_lock, warnings.catch_warnings():
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        warnings.simplefilter("ignore")
        # Pillow raises above twice this number, and so enforces our limit wherever it reads a size. Its warning, above
        # the number itself, would do only while no other thread changes Python's filters of warnings.
        Image.MAX_IMAGE_PIXELS = max_pixels / 2  # type: ignore[assignment] compared and multiplied, nothing else
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _webp_pixels(data: bytes) -> int:
    """Pixels of a WebP file by its header, 0 for other files. Pillow allocates WebP's canvas on opening the file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return 0
    chunk = data[12:16]
    if chunk == b"VP8X":
        return (1 + int.from_bytes(data[24:27], "little")) * (1 + int.from_bytes(data[27:30], "little"))
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
    return (int.from_bytes(data[26:28], "little") & 0x3FFF) * (int.from_bytes(data[28:30], "little") & 0x3FFF)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 for broken EXIF data. To be read after `load`, which may apply it (TIFF)."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 as above
        return 1


def _to_rgb(image: Image.Image, data: bytes, window: Window | None) -> Image.Image:
    samples_HW = deep_samples(image)
    try:
        if samples_HW is not None:
            grey_HW = to_8_bits(image, samples_HW, data, window)
            return _grey(grey_HW, image.info.get("transparency"), samples_HW)
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, rgba).convert("RGB")
        return image.convert("RGB")
    except ValueError:
        raise Undecodable("unsupported pixel format") from None


def _grey(grey_HW: ImageArray, transparency: Any, samples_HW: npt.NDArray[Any]) -> Image.Image:
    if isinstance(transparency, int):
        grey_HW = np.where(samples_HW == transparency, np.uint8(255), grey_HW)
    return Image.fromarray(grey_HW).convert("RGB")
