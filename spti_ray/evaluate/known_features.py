"""Features of generated images by one judge, kept by what their files hold: no image is embedded twice.

A generation's survivors are images of earlier ones, and a release is evaluated again with other options.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.evaluate.bootstrap import Floats
from spti_ray.evaluate.image_sets import ImageSet
from spti_ray.io.files import private_folder, write_table_atomic
from spti_ray.models.protocols import Judge
from spti_ray.step_progress import Told
from spti_ray.types import FloatArray

_FORMAT = 1
_CHUNK = 64


class KnownFeatures:
    """What one judge gives for images.

    Args:
        folder: a private folder, where features are kept for the next time.
        judge: the encoder.
        told: is told how far it is.
    """

    def __init__(self, folder: Path, judge: Judge, told: Told) -> None:
        named = hashlib.sha256(json.dumps([_FORMAT, judge.identity()], sort_keys=True).encode()).hexdigest()[:16]
        self._file = private_folder(folder) / f"{named}.parquet"
        self._judge, self._told = judge, told
        self._known = _read(self._file)

    def of(self, images: ImageSet, numbers: Sequence[int]) -> Floats:
        """The features [N, E] of those images of a set that have these numbers; new ones are kept."""
        keys = [images.images.content(number) for number in numbers]
        missing = {key: number for key, number in zip(keys, numbers, strict=True) if key not in self._known}
        names = list(missing)
        for first in range(0, len(names), _CHUNK):
            self._told(f"embedding {images.name}", first, len(names))
            chunk = names[first : first + _CHUNK]
            rows_BE = self._judge.features([images.images[missing[key]] for key in chunk])
            self._known |= dict(zip(chunk, rows_BE, strict=True))
        if missing:
            _write(self._file, self._known)
        return np.stack([self._known[key] for key in keys]).astype(np.float64)


def _read(file: Path) -> dict[str, FloatArray]:
    """What is kept; nothing if there is no such file, or none that can be read: then it is made again."""
    try:
        table = pq.read_table(file)
        flat = table.column("features").combine_chunks().flatten().to_numpy().reshape(len(table), -1)
        return dict(zip(table.column("content").to_pylist(), flat, strict=True))
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return {}


def _write(file: Path, known: dict[str, FloatArray]) -> None:
    rows_NE = np.stack(list(known.values())).astype(np.float32)
    features = pa.FixedSizeListArray.from_arrays(pa.array(rows_NE.ravel()), rows_NE.shape[1])
    write_table_atomic(file, pa.table({"content": pa.array(list(known)), "features": features}), mode=0o600)
