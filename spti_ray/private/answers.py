# pyright: strict
"""Right and wrong answers of private records to a public probe (`spti measure`): a vote of each unit for one cell.

Formal guarantees, pinned by tests/statistical/test_sensitivity_of_answers.py:

- A unit (record or group) that can vote adds 1 to exactly one cell, and one that can't adds nothing. So adding or
  removing one unit changes one count by 1, and replacing one changes two at most: a vote with k = 1.
- Which cell it is depends on that unit and the probe only: all scores are exact integers, as similarities are.
- A group is right if more than half of its records are; a tie is wrong. Its label, and which of its records take part,
  are those of a vote.
"""

from __future__ import annotations

import numpy as np

from spti_ray.private.products import BLOCK_BYTES
from spti_ray.private.views import IndexArray, MaskArray, Views, VotingError
from spti_ray.private.voting import rows_of_label, sorted_by_unit
from spti_ray.probe import Probe
from spti_ray.types import CountArray, Space

_SPACE: Space = "image"
_BYTES_PER_NUMBER = 8


def cast_answers(views: Views, probe: Probe, block_bytes: int = BLOCK_BYTES) -> CountArray:
    """Let each unit that can vote fill one cell of the probe.

    Args:
        block_bytes: memory for one block of records; it has no influence on the counts.

    Returns:
        Clean counts in the order of `probe.cells`, int64. PRIVATE.

    Raises:
        VotingError: labels or embedding dimensions are not those of the probe.
    """
    if probe.labels != views.label_names or _SPACE not in views.vectors_PE:
        raise VotingError("the probe is for other labels or another space than the records'")
    counts = np.zeros(len(probe.cells), dtype=np.int64)
    for code in range(len(views.label_names)):
        ordered_P, starts = sorted_by_unit(views, rows_of_label(views, views.usable_P[_SPACE], code))
        if not len(ordered_P):
            continue
        right_P = _right(views, ordered_P, probe, code, block_bytes)
        majority_U = 2 * np.add.reduceat(right_P.astype(np.int64), starts[:-1]) > np.diff(starts)
        num_right = int(np.count_nonzero(majority_U))
        first = 2 * code if probe.by_class else 0
        counts[first : first + 2] += (num_right, len(majority_U) - num_right)
    return counts


def _right(views: Views, rows_P: IndexArray, probe: Probe, code: int, block_bytes: int) -> MaskArray:
    """Whether the probe's answer to each of these records is right for the label with this number."""
    vectors = views.vectors_PE[_SPACE]
    weights_EA, offsets_A = probe.weights_AE.T.astype(np.float64), probe.offsets_A.astype(np.float64)
    if vectors.shape[1] != len(weights_EA):
        raise VotingError("records and probe have different embedding dimensions")
    block = max(1, block_bytes // (_BYTES_PER_NUMBER * sum(weights_EA.shape)))
    right_A = probe.right_AL[:, code]
    right_P = np.empty(len(rows_P), dtype=np.bool_)
    for first in range(0, len(rows_P), block):
        # Whole numbers that float64 holds exactly, see `Probe`.
        scores_PA = vectors[rows_P[first : first + block]].astype(np.float64) @ weights_EA + offsets_A
        right_P[first : first + block] = right_A[scores_PA.argmax(axis=1)]
    return right_P
