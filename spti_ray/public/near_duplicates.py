"""Finds an accepted image that a render nearly repeats, among those of other texts.

All are compared, so the time grows with the square of their number; what a comparison gives depends on the two alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from spti_ray.config.filters import DuplicateFilter
from spti_ray.public.exact_cosines import cosines, rounded
from spti_ray.types import FloatArray


class _Rows:
    """Rows that are added one by one, in one array."""

    def __init__(self) -> None:
        self._rows_NE = np.zeros((0, 0), np.float32)
        self._count = 0

    def add(self, row_E: FloatArray) -> None:
        if self._count == len(self._rows_NE):
            grown = np.zeros((max(64, 2 * self._count), len(row_E)), np.float32)
            if self._count:
                grown[: self._count] = self._rows_NE
            self._rows_NE = grown
        self._rows_NE[self._count] = row_E
        self._count += 1

    @property
    def all_NE(self) -> FloatArray:
        return self._rows_NE[: self._count]


class NearDuplicates:
    """The accepted images. `owner`: whose image it is, such as a text; those of one owner are not compared."""

    def __init__(self, settings: DuplicateFilter) -> None:
        self._settings = settings
        self._files: list[str] = []
        self._owners: dict[str, int] = {}
        self._owner_N = _Rows()
        self._thumbnails, self._embeddings = _Rows(), _Rows()

    def add(self, file: str, owner: str, thumbnail: FloatArray, embedding: FloatArray | None) -> None:
        """Note an accepted image."""
        self._files.append(file)
        self._owner_N.add(np.array([self._owners.setdefault(owner, len(self._owners))], np.float32))
        self._thumbnails.add(thumbnail)
        if self._settings.min_similarity is not None:
            assert embedding is not None
            self._embeddings.add(rounded(embedding))

    def find(self, owner: str, thumbnail: FloatArray, embedding: FloatArray | None) -> Mapping[str, Any] | None:
        """The accepted image that is nearest to this one, if it is too near.

        Returns:
            `of`, its file, and `difference` or `similarity`; None if there is none.
        """
        if not self._files:
            return None
        number = self._owners.get(owner, -1)
        others_N = self._owner_N.all_NE[:, 0] != number
        most, least = self._settings.max_difference, self._settings.min_similarity
        if most is not None:
            # Whole numbers of at most 192 * 255^2 < 2^24, which float32 holds exactly.
            squares_N = np.square(self._thumbnails.all_NE - thumbnail).sum(axis=1)
            if (found := _nearest(squares_N, others_N)) is not None:
                difference = math.sqrt(float(squares_N[found]) / len(thumbnail))
                if difference <= most:
                    return {"of": self._files[found], "difference": round(difference, 2)}
        if least is not None:
            assert embedding is not None
            cosine_N = cosines(self._embeddings.all_NE, rounded(embedding))
            found = _nearest(-cosine_N, others_N)
            if found is not None and float(cosine_N[found]) >= least:
                return {"of": self._files[found], "similarity": round(float(cosine_N[found]), 4)}
        return None


def _nearest(distance_N: FloatArray, among_N: npt.NDArray[np.bool_]) -> int | None:
    """The first of the nearest; None if there are none."""
    if not among_N.any():
        return None
    return int(np.argmin(np.where(among_N, distance_N, np.inf)))
