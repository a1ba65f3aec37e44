"""What the noise costs: calibration of sigma, and the epsilon of everything that has been asked.

One query (a generation's histogram) with k votes per record is, coordinate by coordinate, at most k adaptively
composed discrete Gaussian mechanisms of sensitivity 1: adding or removing a record changes k distinct counts by 1.
T queries compose k*T of them. All figures are upper bounds from privacy loss distributions (dp-accounting, with
connect-the-dots discretisation: Doroshenko et al. 2022, arXiv 2207.04380); nothing is rounded towards less privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

RAISE = 1.001
"""Calibration raises sigma in steps of 0.1 %."""

_MAX_RAISES = 256
"""1.3 times the analytic sigma. What that does not certify is lost to the accountant's grid, not to the noise."""

_MAX_SIGMA = 2e4
"""Beyond this the accountant needs seconds to minutes per evaluation."""

_GRID = 1e-4
"""Steps of the accountant's grid of privacy losses: dp-accounting's default."""

_MIN_EPSILON = 10 * _GRID
"""The grid resolves nothing below this."""


@dataclass(frozen=True)
class NoisePlan:
    """The noise of a whole run, fixed before the first query. All fields are public.

    `achieved_epsilon` <= `epsilon` is what the accountant certifies at `delta` for `slots` queries under add/remove
    of one unit; `replace_one_epsilon` is the same under replacement (2k counts change by 1). sigma is in votes.
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
    """Bound on true minus false positive rate of any membership attacker: the certified delta at epsilon 0, which is
    the total variation distance. About 2*Phi(mu/2) - 1, the continuous Gaussian's, and never below the truth."""

    @property
    def slots(self) -> int:
        """Queries paid for: generations, and spares for generations that a crash burns."""
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
    """The noise plan whose certified epsilon at `delta` is at most `epsilon` for generations + spare_slots queries.

    Starts at the analytic Gaussian's sigma * sqrt(k*T) and raises it by 0.1 % until the accountant certifies. The
    discrete Gaussian's epsilon is not monotone in sigma (the lattice shows when sigma < 1), so only a sigma that has
    itself been certified is ever returned. ValueError with one line when the plan is out of reach.
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

    if start > _MAX_SIGMA or epsilon < _MIN_EPSILON:
        raise ValueError(
            f"epsilon {epsilon} at delta {delta} over {count} votes is beyond what can be certified: {advice}"
        )

    def certifies(raises: int, grid: float = _GRID) -> bool:
        return _epsilon(((start * RAISE**raises, count),), delta, grid) <= epsilon

    # A coarse grid only says where to look first: for large epsilon it is ten times faster. The fine one decides.
    guess = _fewest(lambda raises: certifies(raises, 10 * _GRID), 0) if epsilon >= 2 else 0
    raises = _fewest(certifies, guess or 0)
    if raises is None:
        raise ValueError(f"epsilon {epsilon} at delta {delta} over {count} votes can't be certified: {advice}")
    sigma = start * RAISE**raises
    return NoisePlan(
        sigma=sigma,
        epsilon=epsilon,
        delta=delta,
        achieved_epsilon=_epsilon(((sigma, count),), delta),
        replace_one_epsilon=_epsilon(((sigma, 2 * count),), delta),
        votes_per_record=votes_per_record,
        generations=generations,
        spare_slots=spare_slots,
        attacker_advantage=min(1.0, _pld(sigma, count, _GRID).get_delta_for_epsilon(0.0)),
    )


def _fewest(certifies: Callable[[int], bool], guess: int) -> int | None:
    """The fewest raises that certify, sought from `guess` by doubling steps, then by halving; None if too many.

    Where `certifies` is not monotone this may miss a smaller one, and so errs towards more noise.
    """
    failed, passed, step = -1, guess, 1
    if certifies(guess):
        while passed > 0 and certifies(below := max(0, passed - step)):
            passed, step = below, 2 * step
        failed = max(-1, passed - step)
    else:
        while not certifies(passed):
            failed, passed, step = passed, passed + step, 2 * step
            if passed > _MAX_RAISES:
                return None
    while passed - failed > 1:
        middle = (failed + passed) // 2
        failed, passed = (failed, middle) if certifies(middle) else (middle, passed)
    return passed


def pld_epsilon(terms: Sequence[tuple[float, int]], delta: float) -> float:
    """Certified epsilon at `delta` of composed discrete Gaussians: (sigma, count) means `count` of sensitivity 1.

    A query with k votes per record counts k times; no terms cost nothing. ValueError when `delta` is below what the
    accountant's arithmetic resolves (about 1e-15 per composition).
    """
    counts: dict[float, int] = {}
    for sigma, count in terms:
        counts[sigma] = counts.get(sigma, 0) + count
    merged = tuple(sorted((sigma, count) for sigma, count in counts.items() if count))
    if not merged:
        return 0.0
    epsilon = _epsilon(merged, delta)
    if not math.isfinite(epsilon):
        raise ValueError(f"delta {delta} is too small for the privacy accountant: use a larger delta")
    return epsilon


class _Pld(Protocol):
    """The part of dp-accounting's PrivacyLossDistribution that is used here."""

    def self_compose(self, num_times: int) -> _Pld: ...
    def compose(self, other: _Pld) -> _Pld: ...
    def get_epsilon_for_delta(self, delta: float) -> float: ...
    def get_delta_for_epsilon(self, epsilon: float) -> float: ...


@lru_cache(maxsize=4096)
def _epsilon(terms: tuple[tuple[float, int], ...], delta: float, grid: float = _GRID) -> float:
    # Past mu = 20 (epsilon near 300) a privacy loss distribution takes gigabytes. Zero-concentrated DP
    # bounds the same composition in closed form, so an overspent dataset still gets a true figure.
    rho = sum(count / (2 * sigma * sigma) for sigma, count in terms)
    if rho > 200:
        return _zcdp_epsilon(rho, delta)
    composed: _Pld | None = None
    for sigma, count in terms:
        part = _pld(sigma, count, grid)
        composed = part if composed is None else composed.compose(part)
    assert composed is not None, "callers pass at least one term"
    return float(composed.get_epsilon_for_delta(delta))


@lru_cache(maxsize=32)
def _pld(sigma: float, count: int, grid: float) -> _Pld:
    # Imported here: dp-accounting pulls in SciPy, which takes about a second.
    from dp_accounting.pld import (  # pyright: ignore[reportMissingTypeStubs]
        privacy_loss_distribution as library,
    )

    one = library.from_discrete_gaussian_mechanism(
        sigma, sensitivity=1, value_discretization_interval=grid, use_connect_dots=True
    )
    return cast(_Pld, one).self_compose(count)


def _zcdp_epsilon(rho: float, delta: float) -> float:
    """rho-zCDP implies (rho + 2*sqrt(rho*ln(1/delta)), delta)-DP (Bun and Steinke 2016, arXiv 1605.02065)."""
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))


def _phi(x: float) -> float:
    """The standard normal's distribution function, accurate in the lower tail."""
    return 0.5 * math.erfc(-x / math.sqrt(2))
