"""Are images nearer to the records that voted than to records that did not? A membership test whose level is exact.

Each unit (a record or a group) has one figure, the distance from its nearest record to the nearest image. Where nothing
tells the two parts apart they are exchangeable, so any division of the units is as likely as theirs: ranks alone count.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import scipy.stats

from spti_ray.config import Section
from spti_ray.evaluate.bootstrap import Floats, Integers
from spti_ray.types import derive_seed

FALSE_POSITIVES = 0.01
"""The false-positive rate at which the true-positive rate is told."""

PERMUTATIONS = 9_999
_AT_ONCE = 100
_Z = 1.959964


class Membership(Section):
    """How well distances tell units that voted from units that did not.

    `auc`: the chance that a unit that voted is nearer than one that did not; 0.5 where nothing tells them apart. `low`,
    `high`: its 95 % interval (DeLong), which is approximate. `p_value`: of a one-sided permutation test; exact.
    `tpr`: of the units that voted, those nearer than a limit that a unit that did not vote passes with a chance of at
    most `fpr`; `tpr_low`, `tpr_high`: its 95 % interval (Clopper-Pearson).
    """

    auc: float
    low: float
    high: float
    p_value: float
    fpr: float
    tpr: float
    tpr_low: float
    tpr_high: float


def held_out_needed(false_positives: float = FALSE_POSITIVES) -> int:
    """The fewest held-out units by which a false-positive rate can be stated."""
    return math.ceil(1 / false_positives - 1e-9) - 1


def too_few(unit: Literal["record", "group"]) -> str:
    """The line that refuses an audit for want of held-out units."""
    return (
        f"an audit needs at least {held_out_needed()} usable {unit}s that never voted, or no false-positive rate of "
        f"{FALSE_POSITIVES:.0%} can be stated; give more by --holdout PATH (data.holdout is fixed for a dataset)"
    )


def nearest_of_unit(distances_P: Floats, groups_P: Integers) -> Floats:
    """The smallest distance of each group's records, in the groups' order.

    Args:
        distances_P: one for each record.
        groups_P: the number of each record's group.
    """
    groups, group_of_P = np.unique(groups_P, return_inverse=True)
    nearest = np.full(len(groups), np.inf)
    np.minimum.at(nearest, group_of_P, distances_P)
    return nearest


def membership(voted_P: Floats, held_out_Q: Floats, seed: int, false_positives: float = FALSE_POSITIVES) -> Membership:
    """Compare the distances of units that voted with those of units that did not.

    Args:
        voted_P: distances of units that voted.
        held_out_Q: distances of units that did not.
        seed: of the permutations, public.
        false_positives: the rate at which `tpr` is told.

    Raises:
        ValueError: there are fewer held-out units than `held_out_needed`, or none that voted.
    """
    if not len(voted_P) or len(held_out_Q) < held_out_needed(false_positives):
        raise ValueError("too few units for a false-positive rate")
    auc, low, high = _auc(voted_P, held_out_Q)
    place = int(false_positives * (len(held_out_Q) + 1) + 1e-9)
    limit = np.partition(held_out_Q, place - 1)[place - 1]
    found = int((voted_P < limit).sum())
    interval = scipy.stats.binomtest(found, len(voted_P)).proportion_ci(0.95, "exact")
    return Membership(
        auc=auc,
        low=low,
        high=high,
        p_value=_p_value(voted_P, held_out_Q, seed),
        fpr=place / (len(held_out_Q) + 1),
        tpr=found / len(voted_P),
        tpr_low=float(interval.low),
        tpr_high=float(interval.high),
    )


def most_true_positives(fpr: float, epsilon: float, delta: float) -> float:
    """What (epsilon, delta)-DP allows, at most, as the rate of true positives at a rate of false positives.

    Kairouz, Oh, Viswanath 2015 (arXiv 1311.0776). For the AUC take `fpr` 1/2: whether a unit is nearer than another one
    that did not vote is a test that has that rate, by symmetry, if it did not vote either. Both hold for the mean over
    runs, not for each.
    """
    return min(1.0, math.exp(epsilon) * fpr + delta, 1 - math.exp(-epsilon) * (1 - delta - fpr))


def _auc(voted_P: Floats, held_out_Q: Floats) -> tuple[float, float, float]:
    """The area under the curve with its 95 % interval by DeLong, DeLong, Clarke-Pearson 1988."""
    ordered_P, ordered_Q = np.sort(voted_P), np.sort(held_out_Q)

    def share_above(ordered: Floats, values: Floats) -> Floats:
        """For each value the share of `ordered` above it; of equal ones half."""
        below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
        return 1 - below / (2 * len(ordered))

    of_voted_P, of_held_out_Q = share_above(ordered_Q, voted_P), 1 - share_above(ordered_P, held_out_Q)
    auc = float(of_voted_P.mean())
    parts = ((of_voted_P, len(of_voted_P)), (of_held_out_Q, len(of_held_out_Q)))
    error = _Z * math.sqrt(sum(float(np.var(values, ddof=1)) / n for values, n in parts if n > 1))
    return auc, max(auc - error, 0.0), min(auc + error, 1.0)


def _p_value(voted_P: Floats, held_out_Q: Floats, seed: int) -> float:
    """The share of divisions of the units by which those that voted are as near as they are, or nearer."""
    ranks_N = scipy.stats.rankdata(np.concatenate([voted_P, held_out_Q]))
    seen = float(ranks_N[len(voted_P) :].sum())  # high where what was held out is farther
    rng = np.random.default_rng(derive_seed(seed, "membership"))
    as_far = 0
    for first in range(0, PERMUTATIONS, _AT_ONCE):
        rows = min(_AT_ONCE, PERMUTATIONS - first)
        others_BN = rng.permuted(np.broadcast_to(ranks_N, (rows, len(ranks_N))), axis=1)
        as_far += int((others_BN[:, : len(held_out_Q)].sum(axis=1) >= seen).sum())
    return (1 + as_far) / (1 + PERMUTATIONS)
