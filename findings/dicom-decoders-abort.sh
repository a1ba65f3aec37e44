#!/usr/bin/env bash
# A damaged compressed frame ends the whole process in python-gdcm (std::terminate) and in pylibjpeg-rle (a Rust panic that is no
# Exception), and so would a run of many images. Others raise.
#
# Seen: pydicom 3.0.2, python-gdcm 3.2.6, pylibjpeg-rle 2.2.0 on Python 3.11: within 1,500 frames with some changed bytes gdcm
# aborts with signal 6 for lossless JPEG, and rle raises a PanicException that `except Exception` does not catch.
# Needs: pip install pydicom numpy python-gdcm pylibjpeg pylibjpeg-rle imagecodecs
set -euo pipefail
python3 - <<'PY'
import io, logging, os, random, sys, warnings

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array

LOSSLESS_JPEG, RLE = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.5"
pixels = (np.add.outer(np.arange(60), np.arange(50)) * 30).astype(np.uint16)


def written(syntax):
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = "1.2.3"
    found.Rows, found.Columns, found.SamplesPerPixel, found.PixelRepresentation = 60, 50, 1, 0
    found.PhotometricInterpretation, found.BitsAllocated, found.BitsStored, found.HighBit = "MONOCHROME2", 16, 12, 11
    if syntax == RLE:
        found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        found.PixelData = pixels.tobytes()
        found.compress(RLE, encoding_plugin="pydicom", generate_instance_uid=False)
    else:
        found.PixelData = encapsulate([imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=12)])
        found["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    found.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


for plugin, syntax in (("gdcm", LOSSLESS_JPEG), ("pylibjpeg", RLE)):
    whole = written(syntax)
    start = whole.rindex(b"\xfe\xff\x00\xe0") + 8
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        rng = random.Random(1)
        for _ in range(1500):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 6)):
                data[rng.randrange(start, min(len(data), start + 120))] = rng.choice((0, 255, rng.randrange(256)))
            try:
                pixel_array(pydicom.dcmread(io.BytesIO(bytes(data))), decoding_plugin=plugin)
            except Exception:
                pass
            except BaseException as error:
                print(f"{plugin}: {type(error).__name__}, which is no Exception", flush=True)
                os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"{plugin} on Python {sys.version.split()[0]}: the process ended with {status}")
    assert status != 0
PY
