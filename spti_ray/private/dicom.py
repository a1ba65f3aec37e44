# pyright: strict
"""From the bytes of one DICOM file to pixels, by pydicom (extra `dicom`).

The promises are those of `decode`: the result depends on the bytes and public settings alone, what is too large is
refused before pixels are allocated, and no exception, warning or log line carries content. Nothing is removed: a name
that is burnt into the pixels is in the image.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import logging
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.private.decode import Reason, Undecodable, strict_pillow
from spti_ray.private.dicom_codecs import MODULES, coded_shape, plugin_of
from spti_ray.private.dicom_grey import grey_to_8_bits, needs_window
from spti_ray.types import ImageArray

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
DICOMDIR = "dicomdir"
"""A catalogue of files beside it, in lower case; no image."""

NEEDED = ("pydicom", *MODULES)
"""Modules that reading takes, all of the extra `dicom`."""

_MARK = slice(128, 132)
_RGB = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Photometric interpretations that pydicom and the decoders make RGB of."""


@cache
def library() -> Any:
    """pydicom, so that it logs nothing: its log quotes values. Raises ImportError without the extra."""
    found = importlib.import_module("pydicom")
    importlib.import_module("pydicom.pixels")
    for name in ("pydicom", "pylibjpeg", "openjpeg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # importing pydicom sets WARNING
    return found


def missing_extra() -> str:
    """How to install what reading takes, as the end of an error's text; empty if it is there."""
    there = all(importlib.util.find_spec(name) is not None for name in NEEDED)
    return "" if there else "; reading them needs an extra: pip install 'spti-ray[dicom]'"


def is_dicom(data: bytes) -> bool:
    """Whether a file has DICOM's mark."""
    return data[_MARK] == b"DICM"


def may_be_dicom(name: str) -> bool:
    """Whether a file's name, with `data.format: dicom`, may be one of a DICOM file.

    Archives name such files IM0001 or 1.2.840.10008.1: without an ending, or with one of digits.
    """
    _, dot, ending = name.lower().rpartition(".")
    return name.lower() != DICOMDIR and (not dot or ending.isdigit() or f".{ending}" in DICOM_SUFFIXES)


def decode_dicom(data: bytes, settings: DataConfig) -> ImageArray:
    """Decode the image of a DICOM file.

    Args:
        settings: `window` replaces the file's own; `frame` is the one that is taken of a file with several.

    Returns:
        RGB pixels, uint8 [H, W, 3].

    Raises:
        Undecodable: there is no usable image, or one of more than `max_pixels`. Nothing else is raised.
    """
    reason: Reason
    try:
        with strict_pillow(settings.max_pixels):
            return _decode(data, settings)
    except Undecodable as error:
        reason = error.reason
    except (Image.DecompressionBombWarning, Image.DecompressionBombError, MemoryError):
        reason = "too many pixels"
    except Exception:  # noqa: BLE001 pydicom raises dozens of types on malformed bytes
        reason = "truncated or corrupt"
    raise Undecodable(reason)


def dicom_format(data: bytes) -> tuple[str, bool]:
    """What `decode_dicom` takes, in words, and whether `data.window` is about it: deep samples without a window.

    From its header alone; ("", False) for what is no image.
    """
    with suppress(Exception), strict_pillow(1):
        dataset = _read(data, stop_before_pixels=True)
        name = dataset.file_meta.TransferSyntaxUID.name.partition(" (")[0]
        words = f"DICOM, {dataset.PhotometricInterpretation} of {dataset.BitsStored} bits, {name}"
        is_grey = str(dataset.PhotometricInterpretation).startswith("MONOCHROME")
        return words, is_grey and needs_window(dataset)
    return "", False


def _read(data: bytes, **options: Any) -> Any:
    """The data set of a file. Its syntax is looked at first: a deflated one may become any size."""
    pydicom = library()
    if not is_dicom(data):
        raise Undecodable("not an image")
    stream = io.BytesIO(data)
    if plugin_of(file_syntax(stream)) is None:
        raise Undecodable("unknown compression")
    stream.seek(0)
    return pydicom.dcmread(stream, **options)


def file_syntax(stream: Any) -> str:
    """The transfer syntax in a file's meta information, or "". Raises what pydicom raises on other files."""
    stream.seek(_MARK.stop)
    meta = library().filereader.read_dataset(stream, False, True, stop_when=_is_after_meta)
    return str(meta.get("TransferSyntaxUID", ""))


def _is_after_meta(tag: int, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _decode(data: bytes, settings: DataConfig) -> ImageArray:
    pydicom = library()
    dataset = _read(data)
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Undecodable("not an image")
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    if rows * columns > settings.max_pixels:
        raise Undecodable("too many pixels")
    bits = int(dataset.get("BitsStored") or 0)
    if samples not in (1, 3) or (bits and int(dataset.get("HighBit", bits - 1)) != bits - 1):
        raise Undecodable("unsupported pixel format")  # samples that do not begin at the lowest bit: retired
    index = _frame_index(dataset, settings.frame)
    plugin = plugin_of(str(dataset.file_meta.TransferSyntaxUID))
    if not plugin:
        pixels = pydicom.pixels.pixel_array(dataset, index=index)
    else:
        alone = _alone(dataset, index, plugin, (rows, columns, samples))
        pixels = pydicom.pixels.pixel_array(alone, index=0, decoding_plugin=plugin)
    return _to_rgb(dataset, index, pixels, settings)


def _alone(dataset: Any, index: int, plugin: str, shape: tuple[int, int, int]) -> Any:
    """The data set with one compressed frame, which says itself that it has this shape.

    A decoder would believe the frame, and allocate what that says. So what is looked at here is all that is decoded.
    """
    encaps: Any = library().encaps
    offsets = None
    if "ExtendedOffsetTable" in dataset:
        offsets = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    count = int(dataset.get("NumberOfFrames") or 1)
    frame: bytes = encaps.get_frame(dataset.PixelData, index, number_of_frames=count, extended_offsets=offsets)
    if coded_shape(frame, plugin, shape, int(dataset.BitsAllocated)) != shape:
        raise Undecodable("truncated or corrupt")
    alone = copy.copy(dataset)
    alone.PixelData, alone.NumberOfFrames = encaps.encapsulate([frame]), 1
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if name in alone:
            delattr(alone, name)
    return alone


def _frame_index(dataset: Any, wanted: int | None) -> int:
    """Where the frame is, from 0. A file of one frame needs no setting."""
    count = int(dataset.get("NumberOfFrames") or 1)
    if count <= 1:
        return 0
    if wanted is None:
        raise Undecodable("several frames")
    if wanted > count:
        raise Undecodable("no such frame")
    return wanted - 1


def _to_rgb(dataset: Any, index: int, pixels: npt.NDArray[Any], settings: DataConfig) -> ImageArray:
    meaning = str(dataset.PhotometricInterpretation)
    if pixels.ndim == 3 and meaning in _RGB and pixels.dtype.kind == "u":
        return _of_8_bits(pixels, int(dataset.BitsStored))
    if pixels.ndim == 2 and meaning == "PALETTE COLOR":
        return _coloured(dataset, pixels)
    if pixels.ndim == 2 and meaning in ("MONOCHROME1", "MONOCHROME2"):
        try:
            grey_HW = grey_to_8_bits(dataset, index, pixels, settings.window)
        except FloatingPointError:
            raise Undecodable("unsupported pixel format") from None
        return np.repeat(grey_HW[:, :, None], 3, axis=2)
    raise Undecodable("unsupported pixel format")


def _of_8_bits(pixels: npt.NDArray[Any], bits: int) -> ImageArray:
    if bits == 8:
        return pixels.astype(np.uint8)
    return np.rint(np.minimum(pixels * 255.0 / (2**bits - 1), 255.0)).astype(np.uint8)


def _coloured(dataset: Any, pixels: npt.NDArray[Any]) -> ImageArray:
    """Look up indices in the file's palette. Indices beyond it are those of its ends."""
    entries, first, bits = (int(value) for value in dataset.RedPaletteColorLookupTableDescriptor)
    entries = entries or 2**16
    table = dataset.get("RedPaletteColorLookupTableData")
    # A palette of segments may become any size. pydicom cuts indices of tables of bytes to bytes, and does not turn the
    # bytes of a big-endian table.
    wide = table is not None and len(table) > entries + 1
    if (
        table is None
        or (not wide and entries > 256)
        or (wide and not dataset.file_meta.TransferSyntaxUID.is_little_endian)
    ):
        raise Undecodable("unsupported pixel format")
    for colour in ("Red", "Green", "Blue"):  # without the byte that makes its length even
        element = dataset[f"{colour}PaletteColorLookupTableData"]
        element.value = element.value[: entries * (2 if wide else 1)]
    inside = np.clip(pixels.astype(np.int64), first, first + entries - 1)
    rgb = library().pixels.apply_color_lut(inside, dataset)[..., :3]
    return _of_8_bits(rgb, bits if wide else 8)
