# pyright: strict
"""Votes of private records for public candidates (SPTI, arXiv 2506.07555, section 4; private evolution's histogram).

Formal guarantees, pinned by tests/statistical/test_sensitivity.py:

- A unit (record or group) gives +1 to at most k *distinct* candidates, and a valid one to exactly min(k, valid
  candidates of its label). So adding or removing one unit changes the counts by at most sqrt(k) in L2 norm.
- Which candidates these are depends on that unit and the candidates only: not on other units, their order, the block
  size, the shard or the BLAS library, since all similarities are exact integers. Ties go to the lowest candidate id.
- A unit with a NaN, infinite or zero embedding in any voting space, or without a listed label, casts no vote.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spti_ray.private.views import (
    NO_GROUP,
    NO_LABEL,
    SCALE,
    IndexArray,
    MaskArray,
    Views,
    VotingError,
    quantise,
    usable_rows,
)
from spti_ray.types import CountArray, ScoredCandidates, Space

ScoreArray = npt.NDArray[np.float64] | npt.NDArray[np.int64]

_WEIGHT_STEPS = 1000
_EXACT_FLOAT = 2**53
# Bytes per similarity in a block: the float64 matrix, its partitioned copy, and those of tied rows.
_BYTES_PER_SCORE = 40
# Bytes per entry of a unit's vector in a block: int16 rows, int64 sums, float64 operand.
_BYTES_PER_ENTRY = 18
BLOCK_BYTES = 64 * 2**20
"""Memory for the similarities of one block of units; it has no influence on the counts."""


def integer_weights(weights: Mapping[Space, float]) -> dict[Space, int]:
    """Voting weights as the smallest integers in the same proportions, rounded to 1/1000 of their sum.

    Returns:
        By space, in the order of the spaces' names.

    Raises:
        VotingError: a weight is negative or not finite, or all are zero.
    """
    total = sum(weights.values())
    if not math.isfinite(total) or total <= 0 or min(weights.values()) < 0:
        raise VotingError("voting weights must be finite, not negative, and not all zero")
    spaces: list[Space] = sorted(weights)
    steps: dict[Space, int] = {space: round(_WEIGHT_STEPS * weights[space] / total) for space in spaces}
    divisor = math.gcd(*steps.values())
    return {space: step // divisor for space, step in steps.items()}


@dataclass(frozen=True, repr=False)
class Comparison:
    """PRIVATE: the similarities of some units of one label to all usable candidates of that label.

    `label` is an index into the views' label names. `columns_K` are ascending positions among the generation's
    candidates. `similarities` is [units, len(columns_K)], exact. The next comparison overwrites it: new memory for each
    block would take another third of the product's time.
    """

    label: int
    columns_K: IndexArray
    similarities: ScoreArray


def cast_votes(views: Views, scored: ScoredCandidates, k: int, block_bytes: int = BLOCK_BYTES) -> CountArray:
    """Let each unit vote for the k nearest distinct candidates of its label.

    Args:
        k: votes per unit, at least 1.
        block_bytes: memory for one block of units; it has no influence on the counts.

    Returns:
        Clean counts, int64 [K]. PRIVATE.

    Raises:
        VotingError: k is below 1, or as `comparisons`.
    """
    if k < 1:
        raise VotingError("k must be at least 1")
    counts_K = np.zeros(len(scored.candidates), dtype=np.int64)
    for found in comparisons(views, scored, block_bytes):
        counts_K[found.columns_K] += count_nearest(found.similarities, min(k, len(found.columns_K)))
    return counts_K


def comparisons(
    views: Views, scored: ScoredCandidates, block_bytes: int = BLOCK_BYTES
) -> Generator[Comparison, None, None]:
    """Compare every unit that can vote with the candidates of its label.

    The similarity is the weighted sum over the voting spaces; for groups see `_units`.

    Args:
        block_bytes: memory for one block of units.

    Yields:
        Blocks of units, label by label; the units of a label are always in the same order.

    Raises:
        VotingError: voting spaces, weights or embedding dimensions do not match.
    """
    if set(scored.embeddings_KE) - set(views.vectors_PE):
        raise VotingError("the records have no views in a voting space of the candidates")
    weights = integer_weights(scored.weights)
    quantised_KE = {space: quantise(scored.embeddings_KE[space]) for space in weights}
    usable_P = np.logical_and.reduce([views.usable_P[space] for space in weights])
    usable_K = np.logical_and.reduce([usable_rows(quantised_KE[space]) for space in weights])
    candidate_labels_K = np.array(scored.candidates.labels, dtype=object)

    for code, label in enumerate(views.label_names):
        columns_K = np.flatnonzero(usable_K & (candidate_labels_K == label))
        rows_P = _rows_of_label(views, usable_P, code)
        if not len(columns_K) or not len(rows_P):
            continue
        for space in weights:
            if views.vectors_PE[space].shape[1] != quantised_KE[space].shape[1]:
                raise VotingError("records and candidates have different embedding dimensions")
        # Candidates are multiplied by the weights, so that one product gives the weighted sum of similarities.
        candidates_EK = np.concatenate(
            [quantised_KE[space][columns_K].astype(np.float64) * weight for space, weight in weights.items()], axis=1
        ).T
        row_bytes = _BYTES_PER_SCORE * len(columns_K) + _BYTES_PER_ENTRY * len(candidates_EK)
        block = max(1, block_bytes // row_bytes)
        ordered_P, starts = _units(views, rows_P)
        product = _Product(candidates_EK, min(block, len(starts) - 1))
        for first in range(0, len(starts) - 1, block):
            bounds = starts[first : first + block + 1]
            members_P = ordered_P[bounds[0] : bounds[-1]]
            parts = [views.vectors_PE[space][members_P] for space in weights]
            joined_PE = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
            summed: npt.NDArray[np.integer[Any]] = joined_PE
            if views.groups_P is not None:
                summed = np.add.reduceat(joined_PE, bounds[:-1] - bounds[0], axis=0, dtype=np.int64)
            scale = int(np.diff(bounds).max()) * sum(weights.values())
            yield Comparison(code, columns_K, product.exact(summed, scale))


def _rows_of_label(views: Views, usable_P: MaskArray, code: int) -> IndexArray:
    """The numbers of the records that vote under label `code`.

    A group's label is that of its first usable, labelled record, and only its records of that label take part. So a
    group votes under one label only.
    """
    able_P = usable_P & (views.labels_P != NO_LABEL)
    if views.groups_P is None:
        return np.flatnonzero(able_P & (views.labels_P == code))
    rows = np.flatnonzero(able_P & (views.groups_P != NO_GROUP))
    _, first, group_of_row = np.unique(views.groups_P[rows], return_index=True, return_inverse=True)
    label_of_group = views.labels_P[rows[first]]
    return rows[(label_of_group[group_of_row] == code) & (views.labels_P[rows] == code)]


def _units(views: Views, rows_P: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Sort records by unit.

    A group votes like one record whose similarity to a candidate is the sum of its records' similarities.

    Returns:
        (row numbers with those of each unit side by side; where each unit begins among them, and the end of the last).
    """
    if views.groups_P is None:
        return rows_P, np.arange(len(rows_P) + 1)
    ordered_P = rows_P[np.argsort(views.groups_P[rows_P], kind="stable")]
    inner = np.flatnonzero(np.diff(views.groups_P[ordered_P])) + 1
    return ordered_P, np.concatenate([[0], inner, [len(ordered_P)]])


class _Product:
    """Similarities of blocks of units to candidates [E, K]. Each block reuses the memory of the one before."""

    def __init__(self, candidates_EK: npt.NDArray[np.float64], most_units: int) -> None:
        self._candidates_EK = candidates_EK
        self._operand_UE = np.empty((most_units, len(candidates_EK)))
        self._found_UK = np.empty((most_units, candidates_EK.shape[1]))

    def exact(self, vectors_UE: npt.NDArray[np.integer[Any]], scale: int) -> ScoreArray:
        """Integer similarities [units, K] without any rounding.

        By Cauchy-Schwarz every partial sum, in any order, is at most scale * |q|**2 for quantised vectors q. While that
        is below 2**53, float64 BLAS is exact. Larger units, which are rare, take NumPy's slow integer product.

        Args:
            vectors_UE: for each unit the sum of its records' vectors.
            scale: the number of records of the largest unit times the sum of the weights.
        """
        norm = SCALE + math.sqrt(len(self._candidates_EK)) + 1
        if scale * norm * norm >= _EXACT_FLOAT:
            return vectors_UE.astype(np.int64) @ self._candidates_EK.astype(np.int64)
        operand_UE = self._operand_UE[: len(vectors_UE)]
        operand_UE[:] = vectors_UE
        return np.matmul(operand_UE, self._candidates_EK, out=self._found_UK[: len(vectors_UE)])


def count_nearest(similarities: ScoreArray, k: int) -> CountArray:
    """How many rows have each column among their k largest, int64 [K]; for ties see `_nearest`."""
    if k == 1:
        # The usual case; argmax is four times as fast, and takes the lowest of equal columns too.
        return np.bincount(similarities.argmax(axis=1), minlength=similarities.shape[1]).astype(np.int64)
    return _nearest(similarities, k).sum(axis=0)


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
