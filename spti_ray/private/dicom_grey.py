# pyright: strict
"""From the grey samples of a DICOM file to 8 bits: modality LUT or rescale, VOI LUT or window, inversion (PS3.3 C.11).

The functions are pydicom's. What they leave open is decided here: without any window of its own or of the settings an
image is shown from its own lowest sample to its highest, padding left out, and padding is black.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from spti_ray.private.depth import Window
from spti_ray.types import ImageArray

Values = npt.NDArray[np.float64]

_OF_THE_IMAGE = (
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)
_OF_A_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
"""Functional groups of enhanced files, which have the attributes above for one frame or for all."""


def needs_window(dataset: Any) -> bool:
    """Whether grey samples have more than 8 bits, or units of their own, and the file names no window for them."""
    view = _view(dataset, 0)
    return _is_deep(dataset, view) and not view.get("VOILUTSequence") and "WindowCenter" not in view


def grey_to_8_bits(dataset: Any, index: int, stored_HW: npt.NDArray[Any], window: Window | None) -> ImageArray:
    """Bring the stored samples of one frame to 8 bits, as the file says.

    Args:
        dataset: the file's, with its meta information.
        index: the frame, from 0.
        stored_HW: its samples as pydicom decodes them.
        window: what becomes black and white, in the units that rescaling gives; None: as the file says.

    Returns:
        uint8 [H, W].

    Raises:
        FloatingPointError: a sample is not a finite number.
        Whatever pydicom raises on attributes that can't be read.
    """
    view = _view(dataset, index)
    padding_HW = _padding(dataset, stored_HW)
    is_whole = stored_HW.dtype.kind in "iu"
    # Wide enough for all differences that pydicom takes of samples.
    values_HW = _processing().apply_modality_lut(stored_HW.astype(np.int64) if is_whole else stored_HW, view)
    values_HW = values_HW.astype(np.float64)
    if not np.isfinite(values_HW).all():
        raise FloatingPointError
    is_deep = _is_deep(dataset, view)
    shown_HW = _between(values_HW, *window) if window is not None and is_deep else _as_the_file_says(values_HW, view)
    if shown_HW is None:
        bits = int(dataset.get("BitsStored") or 0)
        shown_HW = _whole_range(values_HW, padding_HW) if is_deep else _between(values_HW, 0.0, 2.0**bits - 1)
    grey_HW = np.rint(np.clip(shown_HW, 0.0, 255.0)).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        grey_HW = 255 - grey_HW  # both say the same of one image: it is turned once
    grey_HW[padding_HW] = 0
    return grey_HW


def _processing() -> Any:
    return importlib.import_module("pydicom.pixels.processing")


def _view(dataset: Any, index: int) -> Any:
    """The attributes of display of one frame: its own, else those of all frames, else the image's."""
    view: Any = importlib.import_module("pydicom.dataset").Dataset()
    view.file_meta = dataset.file_meta  # tells the order of bytes in tables
    groups: list[Any] = [dataset]
    for name, at in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", index)):
        items: Any = dataset.get(name)
        if items and at < len(items):
            groups += [items[at].get(group)[0] for group in _OF_A_FRAME if items[at].get(group)]
    for group in groups:
        for name in _OF_THE_IMAGE:
            if name in group and group[name].value not in (None, "", []):
                view[name] = group[name]
    return view


def _is_deep(dataset: Any, view: Any) -> bool:
    """Whether the samples are more than shades of 8 bits: wider, signed, floats, or with units by a rescale."""
    rescaled = float(view.get("RescaleSlope", 1)) != 1 or float(view.get("RescaleIntercept", 0)) != 0
    bits, signed = int(dataset.get("BitsStored") or 64), bool(dataset.get("PixelRepresentation"))
    return bits > 8 or signed or rescaled or "ModalityLUTSequence" in view


def _padding(dataset: Any, stored_HW: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where samples are padding around the image, bool [H, W] (PS3.3 C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if value is None or stored_HW.dtype.kind not in "iu":
        return np.zeros(stored_HW.shape, np.bool_)
    ends = [_as_stored(dataset, value), _as_stored(dataset, dataset.get("PixelPaddingRangeLimit", value))]
    return (stored_HW >= min(ends)) & (stored_HW <= max(ends))


def _as_stored(dataset: Any, value: Any) -> int:
    """A padding value as the samples have it: some files write that of signed samples as an unsigned one."""
    bits, number = int(dataset.BitsAllocated), int(value)
    return number - 2**bits if dataset.PixelRepresentation and number >= 2 ** (bits - 1) else number


def _as_the_file_says(values_HW: Values, view: Any) -> Values | None:
    """By the file's first VOI LUT, or its first window, from 0 to 255; None if it has none that can be applied."""
    if view.get("VOILUTSequence"):
        table = view.VOILUTSequence[0]
        entries, first, bits = (int(value) for value in table.LUTDescriptor)
        inside = np.clip(np.rint(values_HW), first, first + (entries or 2**16) - 1).astype(np.int64)
        return _processing().apply_voi(inside, view).astype(np.float64) * 255.0 / (2**bits - 1)
    if "WindowCenter" not in view or "WindowWidth" not in view:
        return None
    # Samples of 8 bits without a rescale: pydicom scales to what it takes for the range of the samples.
    shades: Any = importlib.import_module("pydicom.dataset").Dataset()
    shades.PhotometricInterpretation, shades.BitsStored, shades.PixelRepresentation = "MONOCHROME2", 8, 0
    for name in ("WindowCenter", "WindowWidth", "VOILUTFunction"):
        if name in view:
            shades[name] = view[name]
    with suppress(ValueError), np.errstate(over="ignore"):  # a width of 0, an unknown function
        return _processing().apply_windowing(values_HW, shades)
    return None


def _between(values_HW: Values, low: float, high: float) -> Values:
    return (np.clip(values_HW, low, high) - low) * 255.0 / (high - low)


def _whole_range(values_HW: Values, padding_HW: npt.NDArray[np.bool_]) -> Values:
    """From the lowest to the highest sample of the image; black if there is but one."""
    inside = values_HW[~padding_HW]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    return _between(values_HW, low, high) if low < high else np.zeros_like(values_HW)
