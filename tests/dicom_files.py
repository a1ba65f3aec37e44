"""DICOM files made by pydicom, and how they look once they are compressed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


def dataset(pixels: Any, syntax: str = EXPLICIT, **attributes: Any) -> Any:
    """A data set of one frame [H, W] or [H, W, 3], or of several [F, H, W], with more or other attributes."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    pixels = np.asarray(pixels)
    colours = pixels.ndim == 3 and pixels.shape[-1] == 3
    found.SamplesPerPixel = 3 if colours else 1
    found.Rows, found.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    if pixels.ndim == 3 and not colours:
        found.NumberOfFrames = len(pixels)
    found.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    if colours:
        found.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    if pixels.dtype.kind == "f":
        found.BitsAllocated = bits
        setattr(found, "FloatPixelData" if bits == 32 else "DoubleFloatPixelData", pixels.tobytes())
    else:
        found.BitsAllocated = found.BitsStored = bits
        found.PixelRepresentation = int(pixels.dtype.kind == "i")
        stored = pixels.astype(pixels.dtype.newbyteorder(">")) if syntax == BIG_ENDIAN else pixels
        found.PixelData = stored.tobytes() + bytes(pixels.nbytes % 2)
        found["PixelData"].VR = "OB" if bits == 8 else "OW"
    for name, value in attributes.items():
        setattr(found, name, value)
    if "BitsStored" in attributes or ("BitsStored" in found and "HighBit" not in attributes):
        found.HighBit = found.BitsStored - 1
    return found


def written(found: Any) -> bytes:
    """The file of a data set."""
    stream = io.BytesIO()
    found.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dicom(pixels: Any, syntax: str = EXPLICIT, **attributes: Any) -> bytes:
    """A file of uncompressed pixels; arguments as of `dataset`."""
    return written(dataset(pixels, syntax, **attributes))


def encapsulated(pixels: Any, syntax: str, *frames: bytes, **attributes: Any) -> bytes:
    """A file of frames that were compressed elsewhere; `pixels` only says of which shape they are."""
    from pydicom.encaps import encapsulate

    found = dataset(pixels, **attributes)
    found.file_meta.TransferSyntaxUID = syntax
    found.PixelData = encapsulate(list(frames))
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    return written(found)


def write(root: Path, name: str, content: bytes) -> Path:
    """Write a file, and the folders that it is in."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
