# pyright: strict
"""From grey samples of more than 8 bits to 8 bits.

Which sample is black and which is white follows from a public window, or from this one image alone (its tags, then its
extremes): never from other images. Without a window nothing is clipped. Colours of 16 bits never get here: Pillow
keeps their high byte (docs/design.md has the table of what each kind of file becomes).
"""

from __future__ import annotations

import math
import struct
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from spti_ray.types import ImageArray

Window = tuple[float, float]
"""The samples that become black and white; what lies beyond is clipped."""

_BITS = range(8, 33, 2)
"""What whole samples usually have. Full scale is the smallest that holds an image's brightest."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_LOWEST_TAGS, _HIGHEST_TAGS = (340, 280), (341, 281)  # SMin/MinSampleValue, SMax/MaxSampleValue
_UNSIGNED, _SIGNED = 1, 2


def deep_samples(image: Image.Image) -> npt.NDArray[Any] | None:
    """The grey samples [H, W] of a loaded image that has more than 8 bits, or signed ones; None of any other image."""
    whole, bits = _tag(image, _SAMPLE_FORMAT, _UNSIGNED), _tag(image, _BITS_PER_SAMPLE, 0)
    if image.mode == "L" and whole == _SIGNED and bits == 8:
        return np.asarray(image).view(np.int8)  # Pillow reads them as unsigned
    if not (image.mode.startswith("I") or image.mode == "F"):
        return None
    samples_HW = np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and whole == _UNSIGNED and bits == 32:
        return samples_HW.view(np.uint32)  # Pillow reads them as signed
    return samples_HW


def to_8_bits(image: Image.Image, samples_HW: npt.NDArray[Any], data: bytes, window: Window | None) -> ImageArray:
    """`samples_HW` of `image`, whose file is `data`, as uint8. ValueError for samples that are no finite numbers."""
    values_HW = samples_HW.astype(np.float64)
    if not np.isfinite(values_HW).all():
        raise ValueError("samples that are no numbers")
    low, high = window or _window(image, values_HW, data)
    grey_HW = np.rint((np.clip(values_HW, low, high) - low) * 255.0 / (high - low)).astype(np.uint8)
    # Pillow turns WhiteIsZero around where there are 8 bits, and no more.
    return 255 - grey_HW if image.format == "TIFF" and _tag(image, _PHOTOMETRIC, 1) == 0 else grey_HW


def _window(image: Image.Image, values_HW: npt.NDArray[np.float64], data: bytes) -> Window:
    """Black and white of this image: what its tags say, if all samples are within, or by its extremes."""
    bottom, top = float(values_HW.min()), float(values_HW.max())
    low, high = _tagged(image, data)
    low = low if low is not None and low <= bottom else None
    high = high if high is not None and high >= top else None
    extremes = _float_window(bottom, top) if image.mode == "F" else _whole_window(bottom, top)
    low, high = extremes[0] if low is None else low, extremes[1] if high is None else high
    return (low, high) if low < high else extremes


def _whole_window(bottom: float, top: float) -> Window:
    """Hounsfield units from -1024 to 3071 give (-1024, 4095), and 12-bit samples in 16 bits (0, 4095)."""
    high = next((2.0**bits - 1 for bits in _BITS if top <= 2.0**bits - 1), top)
    return (0.0 if bottom >= 0 else -(2.0 ** math.ceil(math.log2(-bottom)))), high


def _float_window(bottom: float, top: float) -> Window:
    """Samples from 0 to 1 give (0, 1). Resampling goes a little beyond: up to twice that, or down to -1, the extreme
    is the end, and nothing is clipped. Larger samples are taken for whole ones of any number of bits."""
    low, high = min(0.0, bottom), max(1.0, top)
    if high >= 2:
        high = max(high, 2.0 ** math.ceil(math.log2(high + 1)) - 1)
    if low < -1:
        low = -(2.0 ** math.ceil(math.log2(-low)))
    return low, high


def _tagged(image: Image.Image, data: bytes) -> tuple[float | None, float | None]:
    """What the file says of its lowest and highest sample, where it says anything."""
    if image.format == "PNG":
        bits = _significant_bits(data)
        return None, 2.0**bits - 1 if bits else None
    if image.format != "TIFF":
        return None, None
    low = next((value for tag in _LOWEST_TAGS if (value := _number(image, tag)) is not None), None)
    high = next((value for tag in _HIGHEST_TAGS if (value := _number(image, tag)) is not None), None)
    bits = int(_tag(image, _BITS_PER_SAMPLE, 16))
    if high is None and 8 < bits < 16:
        high = 2.0**bits - 1
    return low, high


def _significant_bits(data: bytes) -> int:
    """Of a grey PNG's sBIT chunk, which comes before the pixels; 0 without one. Pillow does not keep it."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"sBIT" and length == 1 and at + 8 < len(data):
            return min(int(data[at + 8]), 16)
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + length
    return 0


def _tag(image: Image.Image, tag: int, default: float) -> float:
    found = _number(image, tag)
    return default if found is None else found


def _number(image: Image.Image, tag: int) -> float | None:
    """The first value of a TIFF's tag; None if there is none that is a finite number."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    found: Any = tags.get(tag)
    if isinstance(found, tuple):
        found = cast("tuple[Any, ...]", found)[0] if found else None
    try:
        number = float(found)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None
