# pyright: strict
"""Which decoder reads which compression of DICOM, always the same one, and what a compressed frame says of its size.

Decoders that a damaged frame can't end are chosen: python-gdcm and pylibjpeg-rle abort the whole process, and with it
the run (python-gdcm 3.2.6, pylibjpeg-rle 2.2.0). pydicom has no other decoder of lossless JPEG; it gets one here,
libjpeg-turbo by imagecodecs.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

MODULES = ("imagecodecs", "jpeg_ls", "openjpeg", "pylibjpeg")

_NATIVE = {f"1.2.840.10008.1.2{rest}" for rest in ("", ".1", ".2")}
_EXTENDED, _LOSSLESS = "1.2.840.10008.1.2.4.51", ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_OURS = "imagecodecs"
_PLUGINS: dict[str, str] = {
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG of 8 bits
    **dict.fromkeys((_EXTENDED, *_LOSSLESS), _OURS),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{last}" for last in (80, 81)), "pyjpegls"),
    # JPEG 2000, and that of high throughput.
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{last}" for last in (90, 91, 201, 202, 203)), "pylibjpeg"),
}

# What pydicom asks of a module that decodes.
DECODER_DEPENDENCIES = dict.fromkeys((_EXTENDED, *_LOSSLESS), ("imagecodecs",))


def plugin_of(syntax: str) -> str | None:
    """pydicom's name of the decoder of a transfer syntax: "" for uncompressed samples, None if there is none."""
    if syntax in _NATIVE:
        return ""
    plugin = _PLUGINS.get(syntax)
    if plugin == _OURS:
        _register()
    return plugin


@cache
def _register() -> None:
    pixels: Any = importlib.import_module("pydicom.pixels")
    for syntax in DECODER_DEPENDENCIES:
        pixels.get_decoder(syntax).add_plugin(_OURS, (__name__, "decode_jpeg"))


def is_available(syntax: str) -> bool:
    """Whether `decode_jpeg` decodes a transfer syntax; pydicom asks."""
    return syntax in DECODER_DEPENDENCIES


def decode_jpeg(frame: bytes, runner: Any) -> bytes:
    """Decode a JPEG frame of up to 16 bits, lossless or not, without a change of its colours; pydicom calls it.

    Args:
        frame: the compressed frame.
        runner: pydicom's, which is told how the samples lie.

    Raises:
        Exception: the frame is damaged.
    """
    codecs: Any = importlib.import_module("imagecodecs")
    colours = None if runner.samples_per_pixel == 1 else "RGB"
    pixels = codecs.jpeg8_decode(frame, colorspace=colours, outcolorspace=colours)
    runner.set_option("bits_allocated", pixels.dtype.itemsize * 8)
    runner.set_option("planar_configuration", 0)
    return pixels.tobytes()


def coded_shape(frame: bytes, plugin: str, expected: tuple[int, int, int], bits: int) -> tuple[int, int, int] | None:
    """The (rows, columns, samples) that a compressed frame has by itself; None if it can't be told.

    A frame of RLE has none. It is one of the expected shape if it is not longer than that can be.

    Args:
        plugin: the decoder, from `plugin_of`.
        expected: the same of the header, which also says how many `bits` are allocated to a sample.
    """
    if plugin == "pydicom":
        rows, columns, samples = expected
        segments = samples * (bits // 8)
        return expected if len(frame) <= rows * segments * (columns * 129 // 128 + 2) + 1024 else None
    if plugin == "pylibjpeg":
        return _of_jpeg_2000(frame)
    return _of_jpeg(frame)


def _of_jpeg_2000(frame: bytes) -> tuple[int, int, int] | None:
    if frame[:4] != b"\xff\x4f\xff\x51" or len(frame) < 42:
        return None
    width, height, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in (8, 12, 16, 20))
    return height - top, width - left, int.from_bytes(frame[40:42], "big")


def _of_jpeg(frame: bytes) -> tuple[int, int, int] | None:
    """From the frame header of JPEG or JPEG-LS: SOF0 to SOF15, or SOF55."""
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = (int.from_bytes(frame[at + n : at + n + 2], "big") for n in (5, 7))
            return height, width, frame[at + 9]
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
