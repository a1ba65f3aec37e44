# pyright: strict
"""From grey samples of more than 8 bits to 8 bits.

Which sample becomes black and which white follows from a public window, or from this one image alone (its tags, then
its extremes), never from other images. Without a window nothing is clipped. Colours of 16 bits are not handled here:
Pillow keeps their high byte. The documents have a table of what each kind of file becomes.
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
"""The samples that become black and white; samples beyond them are clipped."""

_BITS = range(8, 33, 2)
"""Usual bits of integer samples. Full scale is the smallest that holds an image's brightest sample."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_LOWEST_TAGS, _HIGHEST_TAGS = (340, 280), (341, 281)  # SMin/MinSampleValue, SMax/MaxSampleValue
_UNSIGNED, _SIGNED = 1, 2


def has_deep_samples(image: Image.Image) -> bool:
    """Whether an image, loaded or not, has grey samples of more than 8 bits or signed ones."""
    signed = _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED and _tag(image, _BITS_PER_SAMPLE, 0) == 8
    return image.mode.startswith("I") or image.mode == "F" or (image.mode == "L" and signed)


def deep_samples(image: Image.Image) -> npt.NDArray[Any] | None:
    """The grey samples [H, W] of a loaded image with more than 8 bits or signed samples; None for other images."""
    if not has_deep_samples(image):
        return None
    if image.mode == "L":
        return np.asarray(image).view(np.int8)  # Pillow reads them as unsigned
    whole, bits = _tag(image, _SAMPLE_FORMAT, _UNSIGNED), _tag(image, _BITS_PER_SAMPLE, 0)
    samples_HW = np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and whole == _UNSIGNED and bits == 32:
        return samples_HW.view(np.uint32)  # Pillow reads them as signed
    return samples_HW


def to_8_bits(image: Image.Image, samples_HW: npt.NDArray[Any], data: bytes, window: Window | None) -> ImageArray:
    """Scale grey samples to 8 bits.

    Args:
        samples_HW: the samples of `image`, from `deep_samples`.
        data: the image's file.
        window: the samples that become black and white; None: chosen from the image itself.

    Returns:
        uint8 [H, W].

    Raises:
        ValueError: a sample is not a finite number.
    """
    values_HW = samples_HW.astype(np.float64)
    if not np.isfinite(values_HW).all():
        raise ValueError("samples that are no numbers")
    low, high = window or _window(image, values_HW, data)
    grey_HW = np.rint((np.clip(values_HW, low, high) - low) * 255.0 / (high - low)).astype(np.uint8)
    # Pillow inverts WhiteIsZero for 8-bit samples only.
    return 255 - grey_HW if image.format == "TIFF" and _tag(image, _PHOTOMETRIC, 1) == 0 else grey_HW


def _window(image: Image.Image, values_HW: npt.NDArray[np.float64], data: bytes) -> Window:
    """Black and white of this image: as its tags say if all samples are between them, else from its extremes."""
    bottom, top = float(values_HW.min()), float(values_HW.max())
    low, high = _tagged(image, data)
    low = low if low is not None and low <= bottom else None
    high = high if high is not None and high >= top else None
    extremes = _float_window(bottom, top) if image.mode == "F" else _whole_window(bottom, top)
    low, high = extremes[0] if low is None else low, extremes[1] if high is None else high
    return (low, high) if low < high else extremes


def _whole_window(bottom: float, top: float) -> Window:
    """The window of integer samples: powers of two that hold the extremes.

    Hounsfield units from -1024 to 3071 give (-1024, 4095), 12-bit samples in 16 bits (0, 4095).
    """
    high = next((2.0**bits - 1 for bits in _BITS if top <= 2.0**bits - 1), top)
    return (0.0 if bottom >= 0 else -(2.0 ** math.ceil(math.log2(-bottom)))), high


def _float_window(bottom: float, top: float) -> Window:
    """The window of float samples.

    Samples from 0 to 1 give (0, 1). Resampling goes a little beyond: an extreme between 1 and 2, or between -1 and 0,
    is the end of the window itself. Samples beyond that are taken for integer ones of any number of bits.
    """
    low, high = min(0.0, bottom), max(1.0, top)
    if high >= 2:
        high = max(high, 2.0 ** math.ceil(math.log2(high + 1)) - 1)
    if low < -1:
        low = -(2.0 ** math.ceil(math.log2(-low)))
    return low, high


def _tagged(image: Image.Image, data: bytes) -> tuple[float | None, float | None]:
    """(lowest, highest) sample as the file's tags state them; None for what they do not state."""
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
    """The bits in a grey PNG's sBIT chunk, which comes before the pixels and which Pillow drops; 0 without one."""
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
    """The first value of a TIFF tag; None if it is missing or not a finite number."""
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
