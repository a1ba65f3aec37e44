"""Cosines of embeddings that come out the same to the last bit, whatever they are computed together with.

A matrix product sums in an order that depends on its shape, and a threshold would see that. Coordinates are rounded to
whole numbers of 2^-11: then all products and partial sums are whole numbers below 2^24, which float32 holds exactly.
"""

from __future__ import annotations

import numpy as np

from spti_ray.types import FloatArray

_SCALE = 2048.0


def rounded(row_E: FloatArray) -> FloatArray:
    """An L2-normalised row, or rows, in whole numbers; a cosine of two of them is off by some 2e-4."""
    return np.rint(np.asarray(row_E, dtype=np.float32) * np.float32(_SCALE))


def cosines(rows_NE: FloatArray, row_E: FloatArray) -> FloatArray:
    """[N] cosines of rounded rows with a rounded row."""
    return (rows_NE @ row_E) / np.float32(_SCALE * _SCALE)
