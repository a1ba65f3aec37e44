# pyright: strict
"""Votes of private records for public candidates (SPTI, arXiv 2506.07555, section 4; private evolution's histogram).

Formal guarantees, pinned by tests/statistical/test_sensitivity.py:

- A unit (record or group) gives +1 to at most k *distinct* candidates, and to exactly min(k, valid candidates of its
  label) if it is valid; so adding or removing one unit changes the counts by at most sqrt(k) in L2 norm.
- Which candidates these are depends on that unit and the candidates only: not on other units, the order, the block
  size, the shard or the BLAS library, since all similarities are exact integers. Ties go to the lowest candidate id.
- A unit with a NaN, infinite or zero embedding in any voting space, or without a listed label, casts no vote.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from spti_ray.types import CountArray, FloatArray, ScoredCandidates, Space

QuantArray = npt.NDArray[np.int16]
MaskArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.int64]
ScoreArray = npt.NDArray[np.float64] | npt.NDArray[np.int64]

SCALE = 2**14
"""Quantised embeddings are unit vectors times this; an int16 holds them, and a cosine is a dot product / SCALE**2."""

NO_LABEL = -1
NO_GROUP = -1

_MANTISSA_BITS = 20
_WEIGHT_STEPS = 1000
_EXACT_FLOAT = 2**53
# Bytes per similarity in a block: the float64 matrix, its partitioned copy, and those of tied rows.
_BYTES_PER_SCORE = 40
# Bytes per entry of a unit's vector in a block: int16 rows, int64 sums, float64 operand.
_BYTES_PER_ENTRY = 18
_USABLE_ROWS = 2048
BLOCK_BYTES = 64 * 2**20
"""Of similarities at a time; has no influence on the counts."""


class VotingError(ValueError):
    """Candidates, weights or k do not fit; the text holds public facts only."""


class Rows(Protocol):
    """An int16 [P, E] matrix of which some rows are wanted at a time: an array, or a file of them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: IndexArray, /) -> QuantArray: ...


@dataclass(frozen=True, repr=False)
class Views:
    """PRIVATE: what remains of a shard's records once they are embedded (axis P, in record order).

    `vectors_PE`  space -> int16 [P, E] of `quantise`; a row of zeros casts no vote
    `labels_P`    int32 index into `label_names`, or NO_LABEL
    `groups_P`    int64 code of the record's group, or NO_GROUP (casts no vote); None: each record is its own unit
    """

    vectors_PE: Mapping[Space, Rows]
    labels_P: npt.NDArray[np.int32]
    label_names: tuple[str, ...]
    groups_P: IndexArray | None = None

    def __repr__(self) -> str:
        return "<Views: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("Views are private and are never pickled")

    @property
    def num_units(self) -> int:
        """Records or groups, valid or not. Private: it tells N."""
        if self.groups_P is None:
            return len(self.labels_P)
        return len(np.unique(self.groups_P[self.groups_P != NO_GROUP]))

    @cached_property
    def usable_P(self) -> Mapping[Space, MaskArray]:
        """By space, which rows stand for an embedding; found once, block by block."""
        return {space: _usable(vectors) for space, vectors in self.vectors_PE.items()}


def quantise(embeddings: FloatArray) -> QuantArray:
    """Return [n, E] int16: each row L2-normalised, times SCALE, rounded. Unusable rows (NaN, inf, zero) become zeros.

    Each row's result is a function of that row alone, bit for bit: the norm is a sum of integers, since a float sum
    may change its order with the batch. A usable row never rounds to zeros (that takes E > 2**30).
    """
    if embeddings.ndim != 2:
        raise VotingError("embeddings must be a matrix")
    values = embeddings.astype(np.float64)
    largest = np.abs(values).max(axis=1, initial=0.0)  # NaN if one of the row is
    usable = np.isfinite(largest) & (largest > 0)
    values[~usable] = largest[~usable] = 0.0
    _, exponents = np.frexp(largest)
    whole = np.rint(np.ldexp(values, (_MANTISSA_BITS - exponents)[:, None])).astype(np.int64)
    norms = np.sqrt(np.einsum("ne,ne->n", whole, whole).astype(np.float64))
    norms[~usable] = 1.0
    return np.rint(whole * (SCALE / norms)[:, None]).astype(np.int16)


def usable_rows(vectors: QuantArray) -> MaskArray:
    """[n] bool: the rows of `quantise` that stand for an embedding."""
    return (vectors != 0).any(axis=1)


def _usable(vectors: Rows) -> MaskArray:
    num_rows = vectors.shape[0]
    found = np.zeros(num_rows, dtype=np.bool_)
    for first in range(0, num_rows, _USABLE_ROWS):
        block = np.arange(first, min(first + _USABLE_ROWS, num_rows))
        found[block] = usable_rows(vectors[block])
    return found


def integer_weights(weights: Mapping[Space, float]) -> dict[Space, int]:
    """Voting weights as the smallest integers in the same proportions, to 1 in 1000; order: by name of the space."""
    total = sum(weights.values())
    if not math.isfinite(total) or total <= 0 or min(weights.values()) < 0:
        raise VotingError("voting weights must be finite, not negative, and not all zero")
    spaces: list[Space] = sorted(weights)
    steps: dict[Space, int] = {space: round(_WEIGHT_STEPS * weights[space] / total) for space in spaces}
    divisor = math.gcd(*steps.values())
    return {space: step // divisor for space, step in steps.items()}


@dataclass(frozen=True, repr=False)
class Comparison:
    """PRIVATE: some units of one label, side by side, against all usable candidates of it.

    `label` is an index into the views' label names, `columns_K` are positions in the generation's candidates, in order,
    and `similarities` is [units, len(columns_K)], exact. They are there until the next comparison, which takes their
    memory: new pages for each block would cost a third of the product's time again.
    """

    label: int
    columns_K: IndexArray
    similarities: ScoreArray


def cast_votes(views: Views, scored: ScoredCandidates, k: int, block_bytes: int = BLOCK_BYTES) -> CountArray:
    """Return clean counts, int64 [K]: each unit votes for the k nearest distinct candidates of its label.

    For the arguments and errors see `comparisons`; a k below 1 is a `VotingError` too.
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
    """Every unit that can vote against the candidates of its label: label by label, and in each in the units' order.

    The similarity is the weighted sum over the voting spaces. With groups, see `_units`. `block_bytes` bounds the
    memory of one comparison. Raises `VotingError` if spaces or embedding dimensions do not match.
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
        # The weights go into the candidates' side, so that one product gives the weighted sum of similarities.
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
    """Record rows that take part in the votes for label `code`.

    With groups: a group's label is that of its first usable, labelled record, and its records of that label are the
    ones that take part, so a group appears under one label only.
    """
    able_P = usable_P & (views.labels_P != NO_LABEL)
    if views.groups_P is None:
        return np.flatnonzero(able_P & (views.labels_P == code))
    rows = np.flatnonzero(able_P & (views.groups_P != NO_GROUP))
    _, first, group_of_row = np.unique(views.groups_P[rows], return_index=True, return_inverse=True)
    label_of_group = views.labels_P[rows[first]]
    return rows[(label_of_group[group_of_row] == code) & (views.labels_P[rows] == code)]


def _units(views: Views, rows_P: IndexArray) -> tuple[IndexArray, IndexArray]:
    """The rows with those of one unit side by side, and the bounds of the units in it (one more than units).

    A group votes like one record whose similarity to a candidate is the sum of its records' similarities.
    """
    if views.groups_P is None:
        return rows_P, np.arange(len(rows_P) + 1)
    ordered_P = rows_P[np.argsort(views.groups_P[rows_P], kind="stable")]
    inner = np.flatnonzero(np.diff(views.groups_P[ordered_P])) + 1
    return ordered_P, np.concatenate([[0], inner, [len(ordered_P)]])


class _Product:
    """Similarities of blocks of units to candidates [E, K], in memory that each block takes over from the last one."""

    def __init__(self, candidates_EK: npt.NDArray[np.float64], most_units: int) -> None:
        self._candidates_EK = candidates_EK
        self._operand_UE = np.empty((most_units, len(candidates_EK)))
        self._found_UK = np.empty((most_units, candidates_EK.shape[1]))

    def exact(self, vectors_UE: npt.NDArray[np.integer[Any]], scale: int) -> ScoreArray:
        """[units, K] integer similarities without any rounding; `scale`: records of the largest unit times weights.

        By Cauchy-Schwarz each partial sum, in any order, is at most scale * |q|**2 for quantised vectors q; while that
        is below 2**53 BLAS in float64 is exact. Larger units take NumPy's own integer product: slow, and rare.
        """
        norm = SCALE + math.sqrt(len(self._candidates_EK)) + 1
        if scale * norm * norm >= _EXACT_FLOAT:
            return vectors_UE.astype(np.int64) @ self._candidates_EK.astype(np.int64)
        operand_UE = self._operand_UE[: len(vectors_UE)]
        operand_UE[:] = vectors_UE
        return np.matmul(operand_UE, self._candidates_EK, out=self._found_UK[: len(vectors_UE)])


def count_nearest(similarities: ScoreArray, k: int) -> CountArray:
    """[K] int64: how many rows have each column among their k largest; see `_nearest`."""
    if k == 1:
        # The usual case, and four times as fast; argmax takes the lowest of equal columns as well.
        return np.bincount(similarities.argmax(axis=1), minlength=similarities.shape[1]).astype(np.int64)
    return _nearest(similarities, k).sum(axis=0)


def k_nearest(similarities: ScoreArray, k: int) -> tuple[IndexArray, IndexArray]:
    """Columns of the k largest of each row, [units, k] in order of columns, and their values; see `_nearest`."""
    if k == 1:
        columns = similarities.argmax(axis=1)[:, None]
    else:
        columns = np.nonzero(_nearest(similarities, k))[1].reshape(-1, k)
    return columns, np.take_along_axis(similarities, columns, axis=1).astype(np.int64)


def _nearest(similarities: ScoreArray, k: int) -> MaskArray:
    """Mask of the k largest of each row; among equals at the k-th place the lowest columns are taken."""
    width = similarities.shape[1]
    kth = np.partition(similarities, width - k, axis=1)[:, width - k, None]
    chosen = similarities >= kth
    # Few rows have more than k of them, so only those pay for breaking the tie.
    crowded = np.flatnonzero(chosen.sum(axis=1) > k)
    above = similarities[crowded] > kth[crowded]
    tied = similarities[crowded] == kth[crowded]
    missing = k - above.sum(axis=1, keepdims=True)
    chosen[crowded] = above | (tied & (np.cumsum(tied, axis=1) <= missing))
    return chosen
