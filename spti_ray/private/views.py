# pyright: strict
"""A shard's views: its records as vectors of whole numbers (so similarities are exact), their labels and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from spti_ray.types import EMBEDDING_SCALE, FloatArray, Space

QuantArray = npt.NDArray[np.int16]
MaskArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.int64]

SCALE = EMBEDDING_SCALE
"""Quantised embeddings are unit vectors times this, as int16; a cosine is a dot product / SCALE**2."""

NO_LABEL = -1
NO_GROUP = -1

_MANTISSA_BITS = 20
_USABLE_ROWS = 2048


class VotingError(ValueError):
    """Candidates, weights, k or views do not fit each other; the text holds public facts only."""


class Rows(Protocol):
    """An int16 [P, E] matrix whose rows are read a few at a time: an array, or a file of rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(P, E)."""
        ...

    def __getitem__(self, rows: IndexArray, /) -> QuantArray:
        """The rows with these numbers, int16 [n, E]."""
        ...


@dataclass(frozen=True, repr=False)
class Views:
    """PRIVATE: a shard's embedded records (axis P, in record order).

    `vectors_PE`  by space, int16 [P, E] from `quantise`; a row of zeros casts no vote
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
        """How many units there are, valid or not. PRIVATE."""
        if self.groups_P is None:
            return len(self.labels_P)
        return len(np.unique(self.groups_P[self.groups_P != NO_GROUP]))

    @cached_property
    def usable_P(self) -> Mapping[Space, MaskArray]:
        """By space, bool [P]: which rows are an embedding. Computed once, block by block."""
        return {space: _usable(vectors) for space, vectors in self.vectors_PE.items()}


def quantise(embeddings: FloatArray) -> QuantArray:
    """L2-normalise each row, multiply by SCALE and round.

    Each row's result is a function of that row alone, bit for bit: the norm is computed from a sum of integers, since
    the order of a float sum may change with the batch. A usable row never rounds to zeros (that takes E > 2**30).

    Args:
        embeddings: float [n, E].

    Returns:
        int16 [n, E]. Unusable rows (with NaN or infinity, or all zeros) become zeros.

    Raises:
        VotingError: embeddings are no matrix.
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
    """Which rows from `quantise` are an embedding, bool [n]."""
    return (vectors != 0).any(axis=1)


def _usable(vectors: Rows) -> MaskArray:
    num_rows = vectors.shape[0]
    found = np.zeros(num_rows, dtype=np.bool_)
    for first in range(0, num_rows, _USABLE_ROWS):
        block = np.arange(first, min(first + _USABLE_ROWS, num_rows))
        found[block] = usable_rows(vectors[block])
    return found
