# pyright: strict
"""Similarities of units to candidates as exact integers, and each unit's nearest: what computes them, and NumPy's way.

Exact, whatever computes them: quantised vectors are whole numbers, and by Cauchy-Schwarz every partial sum of a
product, in any order, is at most scale * |q|**2 for quantised vectors q (`fits_float64`). float64 holds all whole
numbers below 2**53 and rounds none of them, so that any order of additions, fused or not, gives the same integer. Ties
go to the lowest column, by definition and not by how a library sorts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spti_ray.private.views import SCALE, IndexArray, MaskArray, Views
from spti_ray.types import CountArray, Space

ScoreArray = npt.NDArray[np.float64] | npt.NDArray[np.int64]
CandidateMatrix = npt.NDArray[np.float64]

EXACT_FLOAT = 2**53
BLOCK_BYTES = 64 * 2**20
"""Memory for the similarities of one block of units; it has no influence on the counts."""

# Bytes per similarity in a block: the float64 matrix, its partitioned copy, and those of tied rows.
_BYTES_PER_SCORE = 40
# Bytes per entry of a unit's vector in a block: int16 rows, int64 sums, float64 operand.
_BYTES_PER_ENTRY = 18


class Similarities(Protocol):
    """PRIVATE: those of a block of units to the candidates of their label. The next block overwrites them."""

    def count_nearest(self, k: int) -> CountArray:
        """How many units have each candidate among their k nearest, int64 [K]."""
        ...

    def k_nearest(self, k: int) -> tuple[IndexArray, IndexArray]:
        """The k nearest of each unit: (their columns [units, k], ascending; their similarities)."""
        ...


class Product(Protocol):
    """The candidates of one label, to which units are compared a block at a time."""

    def of(self, members_P: IndexArray, starts: IndexArray, most_records: int) -> Similarities:
        """Compare units with the candidates.

        Args:
            members_P: numbers of the units' records, with those of each unit side by side.
            starts: where each unit begins among them, and the end of the last.
            most_records: how many records the largest of the units has.
        """
        ...


class Processor(Protocol):
    """What computes similarities. All give the same integers, and so the same counts."""

    def block_units(self, num_candidates: int, width: int) -> int:
        """How many units are compared at a time; `width`: entries of a vector, of all voting spaces together."""
        ...

    def product(self, views: Views, weights: dict[Space, int], candidates_EK: CandidateMatrix, units: int) -> Product:
        """Take the candidates of a label.

        Args:
            views: of the records.
            weights: the voting spaces, in the order of their rows in `candidates_EK`, and their whole weights.
            candidates_EK: quantised vectors times the weights.
            units: how many there will be in a block at most.
        """
        ...

    def let_go(self) -> None:
        """Free what it keeps between two votes. Never raises: what is broken is let go too."""
        ...


def fits_float64(scale: int, width: int) -> bool:
    """Whether similarities are exact in float64.

    Args:
        scale: the number of records of the largest unit times the sum of the weights.
        width: entries of a vector; a quantised one is longer than SCALE by sqrt(width) at most.
    """
    norm = SCALE + math.sqrt(width) + 1
    return scale * norm * norm < EXACT_FLOAT


def units_in(block_bytes: int, num_candidates: int, width: int) -> int:
    """How many units' similarities, and what finding the nearest takes beside them, have room in so many bytes."""
    return max(1, block_bytes // (_BYTES_PER_SCORE * num_candidates + _BYTES_PER_ENTRY * width))


class NumpyProcessor:
    """NumPy's products on the CPU, by as many threads as its BLAS has been given."""

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        """`block_bytes`: memory for one block of units; it has no influence on the counts."""
        self._block_bytes = block_bytes

    def block_units(self, num_candidates: int, width: int) -> int:
        return units_in(self._block_bytes, num_candidates, width)

    def product(
        self, views: Views, weights: dict[Space, int], candidates_EK: CandidateMatrix, units: int
    ) -> NumpyProduct:
        return NumpyProduct(views, weights, candidates_EK, units)

    def let_go(self) -> None:
        """It keeps nothing."""


NUMPY = NumpyProcessor()


class NumpyProduct:
    """Similarities by NumPy. Each block reuses the memory of the one before: new memory costs a third more time."""

    def __init__(self, views: Views, weights: dict[Space, int], candidates_EK: CandidateMatrix, units: int) -> None:
        self._vectors = [views.vectors_PE[space] for space in weights]
        self._grouped = views.groups_P is not None
        self._weight = sum(weights.values())
        self._candidates_EK = candidates_EK
        self._operand_UE = np.empty((units, len(candidates_EK)))
        self._found_UK = np.empty((units, candidates_EK.shape[1]))

    def of(self, members_P: IndexArray, starts: IndexArray, most_records: int) -> NumpySimilarities:
        """Larger units than float64 has room for, which are rare, take NumPy's slow integer product."""
        vectors_UE = self._summed([rows[members_P] for rows in self._vectors], starts)
        if not fits_float64(most_records * self._weight, len(self._candidates_EK)):
            return NumpySimilarities(vectors_UE.astype(np.int64) @ self._candidates_EK.astype(np.int64))
        operand_UE = self._operand_UE[: len(vectors_UE)]
        operand_UE[:] = vectors_UE
        return NumpySimilarities(np.matmul(operand_UE, self._candidates_EK, out=self._found_UK[: len(vectors_UE)]))

    def _summed(self, parts: Sequence[npt.NDArray[np.int16]], starts: IndexArray) -> npt.NDArray[np.integer[Any]]:
        """For each unit the sum of its records' vectors."""
        joined_PE = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return np.add.reduceat(joined_PE, starts[:-1], axis=0, dtype=np.int64) if self._grouped else joined_PE


class NumpySimilarities:
    """Similarities [units, K] as an array of NumPy's."""

    def __init__(self, values_UK: ScoreArray) -> None:
        self._values_UK = values_UK

    def count_nearest(self, k: int) -> CountArray:
        if k == 1:
            # The usual case; argmax is four times as fast, and takes the lowest of equal columns too.
            columns = self._values_UK.argmax(axis=1)
            return np.bincount(columns, minlength=self._values_UK.shape[1]).astype(np.int64)
        return _nearest(self._values_UK, k).sum(axis=0)

    def k_nearest(self, k: int) -> tuple[IndexArray, IndexArray]:
        return k_nearest(self._values_UK, k)


def k_nearest(similarities: ScoreArray, k: int) -> tuple[IndexArray, IndexArray]:
    """The k largest of each row: (their columns [units, k], ascending; their values). For ties see `_nearest`."""
    if k == 1:
        columns = similarities.argmax(axis=1)[:, None]
    else:
        columns = np.nonzero(_nearest(similarities, k))[1].reshape(-1, k)
    return columns, np.take_along_axis(similarities, columns, axis=1).astype(np.int64)


def _nearest(similarities: ScoreArray, k: int) -> MaskArray:
    """Mask of the k largest of each row; among values equal to the k-th largest the lowest columns are taken."""
    width = similarities.shape[1]
    kth = np.partition(similarities, width - k, axis=1)[:, width - k, None]
    chosen = similarities >= kth
    # Only the few rows with more than k of them need their ties broken.
    crowded = np.flatnonzero(chosen.sum(axis=1) > k)
    above = similarities[crowded] > kth[crowded]
    tied = similarities[crowded] == kth[crowded]
    missing = k - above.sum(axis=1, keepdims=True)
    chosen[crowded] = above | (tied & (np.cumsum(tied, axis=1) <= missing))
    return chosen
