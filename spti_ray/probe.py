"""A public rule by which each private record is right or wrong."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spti_ray.types import EMBEDDING_SCALE


@dataclass(frozen=True)
class Probe:
    """A public rule by which each private record is right or wrong: a linear classifier of its embedding.

    Weights and offsets are whole numbers, as embeddings are on the private side, so that scores are exact. The answer
    to a record with the int16 embedding q is the row a with the largest weights_AE[a] . q + offsets_A[a], the first of
    equal ones. `right_AL`, bool [A, L], says for records of which of the `labels` an answer is right. With `by_class`
    right and wrong are counted for each label.
    """

    weights_AE: npt.NDArray[np.int16]
    offsets_A: npt.NDArray[np.int64]
    right_AL: npt.NDArray[np.bool_]
    labels: tuple[str, ...]
    by_class: bool = False

    def __post_init__(self) -> None:
        answers = len(self.offsets_A)
        if self.weights_AE.ndim != 2 or len(self.weights_AE) != answers or not answers:
            raise ValueError("a probe has a row of weights and an offset for each answer")
        if self.right_AL.shape != (answers, len(self.labels)):
            raise ValueError("a probe says of each answer and label whether it is right")
        # By Cauchy-Schwarz: every partial sum of a score, in any order, is a whole number that float64 holds exactly.
        width = self.weights_AE.shape[1]
        longest = math.sqrt(int((self.weights_AE.astype(np.int64) ** 2).sum(axis=1).max()))
        if longest * (EMBEDDING_SCALE + math.sqrt(width) + 1) + np.abs(self.offsets_A.astype(np.float64)).max() > 2**52:
            raise ValueError("an offset of a probe is too large beside its weights")

    @classmethod
    def rounded(
        cls,
        weights_AE: npt.NDArray[np.floating[Any]],
        offsets_A: npt.NDArray[np.floating[Any]],
        right_AL: npt.NDArray[np.bool_],
        labels: tuple[str, ...],
        by_class: bool = False,
    ) -> Probe:
        """The probe of real weights and offsets, for embeddings of length 1, in whole numbers.

        Raises:
            ValueError: they are no matrix and vector that fit each other, are not finite, or all weights are zero.
        """
        if weights_AE.ndim != 2 or not (np.isfinite(weights_AE).all() and np.isfinite(offsets_A).all()):
            raise ValueError("weights and offsets of a probe must be a matrix and a vector of finite numbers")
        longest = float(np.sqrt((weights_AE.astype(np.float64) ** 2).sum(axis=1)).max(initial=0.0))
        if not longest:
            raise ValueError("all weights of a probe are zero")
        scale = EMBEDDING_SCALE / longest
        offsets = np.rint(offsets_A.astype(np.float64) * scale * EMBEDDING_SCALE)
        if offsets.size and float(np.abs(offsets).max()) > 2**52:
            raise ValueError("an offset of a probe is too large beside its weights")
        weights = np.rint(weights_AE.astype(np.float64) * scale).astype(np.int16)
        return cls(weights, offsets.astype(np.int64), right_AL, labels, by_class)

    @property
    def cells(self) -> tuple[str, ...]:
        """What is counted, of which each unit fills exactly one: right and wrong, of each label in turn if asked."""
        if not self.by_class:
            return ("right", "wrong")
        return tuple(f"{label}: {cell}" for label in self.labels for cell in ("right", "wrong"))

    def sha256(self) -> str:
        """A hash of all that an answer depends on, which ties the counts to this probe."""
        digest = hashlib.sha256(json.dumps([self.labels, self.by_class], ensure_ascii=False).encode())
        for array, kind in ((self.weights_AE, "<i2"), (self.offsets_A, "<i8"), (self.right_AL, "|b1")):
            digest.update(f"|{array.shape}|".encode() + np.ascontiguousarray(array, dtype=kind).tobytes())
        return digest.hexdigest()
