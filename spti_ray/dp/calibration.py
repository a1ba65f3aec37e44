"""Calibration: the noise of a whole run, fixed before its first query so that its epsilon keeps what was asked.

Rule held here (docs/privacy.md, "Calibration"): only a sigma whose epsilon was itself certified is ever used.

sigma starts at the continuous Gaussian's and grows in steps of 0.1 % until `accounting` certifies it. The discrete
Gaussian's epsilon is not monotone in sigma (below sigma 1 the lattice shows), so no sigma is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from spti_ray.dp.accounting import ACCOUNTANT, MAX_COUNT, SMALLEST_DELTA, advantage, composed_epsilon
from spti_ray.dp.exact import exact_epsilon

SIGMA_STEP = 1.001
"""Calibration raises sigma by this factor until it is certified."""

_MAX_STEPS = 256
"""1.3 times the analytic sigma. If that is not certified, the accountant's arithmetic is at fault, not the noise."""

_MAX_SIGMA = 2e4
"""For a larger sigma the accountant, which sums over the lattice out to 11.6 sigma, takes seconds per evaluation."""

_MIN_EPSILON = 1e-3
"""Smaller ones have no use, and `_MAX_SIGMA` allows hardly any."""


@dataclass(frozen=True)
class NoisePlan:
    """The noise of a whole run, fixed before the first query. All fields are public.

    `epsilon` is what was asked for. `achieved_epsilon` <= `epsilon` is certified at `delta` for `slots` queries when
    one unit is added or removed; `replace_one_epsilon` is the same when one unit is replaced (2k counts change by 1).
    `sigma` is in votes.
    """

    sigma: float
    epsilon: float
    delta: float
    achieved_epsilon: float
    replace_one_epsilon: float
    votes_per_record: int
    generations: int
    spare_slots: int
    attacker_advantage: float
    """Upper bound on true minus false positive rate of any membership attacker: the certified delta at epsilon 0, which
    is the total variation distance. It is close to 2*Phi(mu/2) - 1, the value for the continuous Gaussian."""

    @property
    def slots(self) -> int:
        """Queries paid for: generations, and spares for queries that a crash burns."""
        return self.generations + self.spare_slots

    @property
    def mu(self) -> float:
        """The run's Gaussian-DP parameter (Dong, Roth, Su 2019, arXiv 1905.02383)."""
        return math.sqrt(self.votes_per_record * self.slots) / self.sigma


def analytic_gaussian_sigma(epsilon: float, delta: float) -> float:
    """Smallest sigma of the continuous Gaussian with sensitivity 1 (Balle and Wang 2018, arXiv 1805.06530)."""

    def spent_delta(sigma: float) -> float:
        return _phi(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * _phi(-0.5 / sigma - epsilon * sigma)

    low, high = 1e-3, 1.0
    while spent_delta(high) > delta:
        low, high = high, 2 * high
    while high / low > 1 + 1e-12:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if spent_delta(middle) > delta else (low, middle)
    return high


@lru_cache(maxsize=256)
def calibrate(epsilon: float, delta: float, votes_per_record: int, generations: int, spare_slots: int = 0) -> NoisePlan:
    """Find the noise whose certified epsilon at `delta` is at most `epsilon` for generations + spare_slots queries.

    Starts at the analytic Gaussian's sigma * sqrt(k * queries) and raises it by 0.1 % until the accountant certifies.

    Raises:
        ValueError: the plan is out of reach; one line that says what to change.
    """
    if not 0 < epsilon <= 100:
        raise ValueError(f"epsilon must be in (0, 100], not {epsilon}")
    if not 0 < delta < 0.5:
        raise ValueError(f"delta must be in (0, 0.5), not {delta}")
    if votes_per_record < 1 or generations < 1 or spare_slots < 0:
        raise ValueError("votes_per_record and generations must be at least 1, and spare_slots at least 0")
    count = votes_per_record * (generations + spare_slots)
    start = analytic_gaussian_sigma(epsilon, delta) * math.sqrt(count)
    advice = "ask for a larger epsilon or delta, or for fewer generations or votes per record"

    if start > _MAX_SIGMA or epsilon < _MIN_EPSILON or count > MAX_COUNT:
        raise ValueError(
            f"epsilon {epsilon} at delta {delta} over {count} votes is beyond what can be certified: {advice}"
        )

    steps = _fewest_steps(lambda steps: composed_epsilon(((start * SIGMA_STEP**steps, count),), delta) <= epsilon)
    if steps is None:
        raise ValueError(f"epsilon {epsilon} at delta {delta} over {count} votes can't be certified: {advice}")
    return plan_at(start * SIGMA_STEP**steps, epsilon, delta, votes_per_record, generations, spare_slots)


def plan_at(
    sigma: float,
    epsilon: float,
    delta: float,
    votes_per_record: int,
    generations: int,
    spare_slots: int,
    accountant: int = ACCOUNTANT,
) -> NoisePlan:
    """The plan of a run whose sigma is known, such as one recorded in a ledger.

    Args:
        epsilon: what was asked for. It is only repeated; `achieved_epsilon` says whether sigma keeps it.
        accountant: the version of the accounting that computes the figures.
    """
    count = votes_per_record * (generations + spare_slots)
    return NoisePlan(
        sigma=sigma,
        epsilon=epsilon,
        delta=delta,
        achieved_epsilon=composed_epsilon(((sigma, count),), delta, accountant),
        replace_one_epsilon=composed_epsilon(((sigma, 2 * count),), delta, accountant),
        votes_per_record=votes_per_record,
        generations=generations,
        spare_slots=spare_slots,
        attacker_advantage=advantage(((sigma, count),), accountant),
    )


def check_registrable(lifetime_epsilon: float | None, delta: float) -> None:
    """Refuse a lifetime budget under which no run could ever be planned. `lifetime_epsilon` None is no limit.

    Raises:
        ValueError: one line that says which of the two is out of reach.
    """
    if not SMALLEST_DELTA <= delta < 0.5:
        raise ValueError(f"delta must be in [{SMALLEST_DELTA:g}, 0.5), which is what can be certified, not {delta:g}")
    if lifetime_epsilon is None:
        return
    if not math.isfinite(lifetime_epsilon):
        raise ValueError("lifetime epsilon must be a number; leave it out for no limit")
    least = exact_epsilon(_MAX_SIGMA, 1, delta)
    if lifetime_epsilon < least:
        raise ValueError(
            f"a lifetime epsilon of {lifetime_epsilon:g} at delta {delta:g} is out of reach: a single query with the "
            f"most noise that can be planned costs {least:.3g}"
        )


def _fewest_steps(certifies: Callable[[int], bool]) -> int | None:
    """The fewest steps that certify, found by doubling and then by bisection; None if more than `_MAX_STEPS`.

    Where `certifies` is not monotone this may miss a smaller number, and so errs towards more noise.
    """
    failed, passed = -1, 0
    while not certifies(passed):
        failed, passed = passed, 2 * passed + 1
        if passed > _MAX_STEPS:
            return None
    while passed - failed > 1:
        middle = (failed + passed) // 2
        failed, passed = (failed, middle) if certifies(middle) else (middle, passed)
    return passed


def _phi(x: float) -> float:
    """The standard normal's distribution function, accurate in the lower tail."""
    return 0.5 * math.erfc(-x / math.sqrt(2))
