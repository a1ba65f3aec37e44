# pyright: strict
"""Votes of private records for public candidates (SPTI, arXiv 2506.07555, section 4; private evolution's histogram).

Formal guarantees, pinned by tests/statistical/test_sensitivity.py:

- A unit (record or group) gives +1 to at most k *distinct* candidates, and a valid one to exactly min(k, valid
  candidates of its label). So adding or removing one unit changes the counts by at most sqrt(k) in L2 norm.
- Which candidates these are depends on that unit and the candidates only: not on other units, their order, the block
  size, the shard, the BLAS library or the device, since all similarities are exact integers (`products`). Ties go to
  the lowest candidate id.
- A unit with a NaN, infinite or zero embedding in any voting space, or without a listed label, casts no vote.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np

from spti_ray.private.products import NUMPY, Processor, Similarities
from spti_ray.private.views import (
    NO_GROUP,
    NO_LABEL,
    IndexArray,
    MaskArray,
    Views,
    VotingError,
    quantise,
    usable_rows,
)
from spti_ray.types import CountArray, ScoredCandidates, Space

_WEIGHT_STEPS = 1000


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
    candidates. `similarities` are [units, len(columns_K)], exact; the next comparison overwrites them.
    """

    label: int
    columns_K: IndexArray
    similarities: Similarities


def cast_votes(views: Views, scored: ScoredCandidates, k: int, processor: Processor = NUMPY) -> CountArray:
    """Let each unit vote for the k nearest distinct candidates of its label.

    Args:
        k: votes per unit, at least 1.
        processor: what computes similarities; it has no influence on the counts.

    Returns:
        Clean counts, int64 [K]. PRIVATE.

    Raises:
        VotingError: k is below 1, or as `comparisons`.
    """
    if k < 1:
        raise VotingError("k must be at least 1")
    counts_K = np.zeros(len(scored.candidates), dtype=np.int64)
    for found in comparisons(views, scored, processor):
        counts_K[found.columns_K] += found.similarities.count_nearest(min(k, len(found.columns_K)))
    return counts_K


def comparisons(
    views: Views, scored: ScoredCandidates, processor: Processor = NUMPY
) -> Generator[Comparison, None, None]:
    """Compare every unit that can vote with the candidates of its label.

    The similarity is the weighted sum over the voting spaces; for groups see `sorted_by_unit`.

    Args:
        processor: what computes similarities.

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
        rows_P = rows_of_label(views, usable_P, code)
        if not len(columns_K) or not len(rows_P):
            continue
        for space in weights:
            if views.vectors_PE[space].shape[1] != quantised_KE[space].shape[1]:
                raise VotingError("records and candidates have different embedding dimensions")
        # Candidates are multiplied by the weights, so that one product gives the weighted sum of similarities.
        candidates_EK = np.concatenate(
            [quantised_KE[space][columns_K].astype(np.float64) * weight for space, weight in weights.items()], axis=1
        ).T
        ordered_P, starts = sorted_by_unit(views, rows_P)
        block = min(processor.block_units(len(columns_K), len(candidates_EK)), len(starts) - 1)
        product = processor.product(views, weights, candidates_EK, block)
        for first in range(0, len(starts) - 1, block):
            bounds = starts[first : first + block + 1]
            members_P = ordered_P[bounds[0] : bounds[-1]]
            most_records = int(np.diff(bounds).max())
            yield Comparison(code, columns_K, product.of(members_P, bounds - bounds[0], most_records))


def rows_of_label(views: Views, usable_P: MaskArray, code: int) -> IndexArray:
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


def sorted_by_unit(views: Views, rows_P: IndexArray) -> tuple[IndexArray, IndexArray]:
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
