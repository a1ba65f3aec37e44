"""What the noise costs: calibration of sigma, and the epsilon of everything that has been asked.

One query (a generation's histogram) with k votes per record is, coordinate by coordinate, at most k adaptively
composed discrete Gaussian mechanisms of sensitivity 1: adding or removing a record changes k distinct counts by 1.
T queries compose k*T of them. All figures are upper bounds from privacy loss distributions (dp-accounting, with
connect-the-dots discretisation: Doroshenko et al. 2022, arXiv 2207.04380), raised to what `exact` finds without a
transform wherever the library's rounding errors make its figure too small. Nothing is rounded towards less privacy.
For all runs on a dataset see `lifetime`.

Figures have a version, `ACCOUNTANT`, which ledger and certificates name, so that what an earlier one certified can be
computed again as it did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

from spti_ray.dp.exact import exact_delta, exact_epsilon

ACCOUNTANT = 2
"""Version of all figures. 1: dp-accounting's alone. 2: never below what `exact` computes without a transform."""

SMALLEST_DELTA = 1e-14
"""What a dataset may be registered with: the library takes 1e-15 of every composition for a certain loss."""

SIGMA_STEP = 1.001
"""Calibration raises sigma in steps of 0.1 %."""

_MAX_RAISES = 256
"""1.3 times the analytic sigma. What that does not certify is lost to the accountant's arithmetic, not to the noise."""

_MAX_SIGMA = 2e4
"""Beyond this the accountant, which walks the lattice out to 11.6 sigma, needs seconds per evaluation."""

_MIN_EPSILON = 1e-3
"""Nobody plans for less, and _MAX_SIGMA would not allow much less."""

_FINENESS = 0.015
"""Step of the grid of privacy losses, in standard deviations of one query's loss. See `_grid`."""

_MAX_CELLS = 1e6
"""Cells of the grid that the losses of one query may span."""

_MAX_COUNT = 100_000
_MAX_RHO = 200.0
"""Queries, and their zero-concentrated DP (epsilon near 300), up to which privacy loss distributions are computed."""


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

    if start > _MAX_SIGMA or epsilon < _MIN_EPSILON or count > _MAX_COUNT:
        raise ValueError(
            f"epsilon {epsilon} at delta {delta} over {count} votes is beyond what can be certified: {advice}"
        )

    raises = _fewest(lambda raises: _epsilon(((start * SIGMA_STEP**raises, count),), delta) <= epsilon)
    if raises is None:
        raise ValueError(f"epsilon {epsilon} at delta {delta} over {count} votes can't be certified: {advice}")
    return plan_at(start * SIGMA_STEP**raises, epsilon, delta, votes_per_record, generations, spare_slots)


def plan_at(
    sigma: float,
    epsilon: float,
    delta: float,
    votes_per_record: int,
    generations: int,
    spare_slots: int,
    accountant: int = ACCOUNTANT,
) -> NoisePlan:
    """The plan of a run whose sigma is given, such as one that a ledger tells of, with what `accountant` certifies.

    `epsilon` is what was asked for, and is only repeated; `achieved_epsilon` says whether sigma keeps it.
    """
    count = votes_per_record * (generations + spare_slots)
    return NoisePlan(
        sigma=sigma,
        epsilon=epsilon,
        delta=delta,
        achieved_epsilon=_epsilon(((sigma, count),), delta, accountant),
        replace_one_epsilon=_epsilon(((sigma, 2 * count),), delta, accountant),
        votes_per_record=votes_per_record,
        generations=generations,
        spare_slots=spare_slots,
        attacker_advantage=advantage(((sigma, count),), accountant),
    )


def _fewest(certifies: Callable[[int], bool]) -> int | None:
    """The fewest raises that certify, sought by doubling steps and then by halving; None if too many.

    Where `certifies` is not monotone this may miss a smaller one, and so errs towards more noise.
    """
    failed, passed = -1, 0
    while not certifies(passed):
        failed, passed = passed, 2 * passed + 1
        if passed > _MAX_RAISES:
            return None
    while passed - failed > 1:
        middle = (failed + passed) // 2
        failed, passed = (failed, middle) if certifies(middle) else (middle, passed)
    return passed


def check_registrable(lifetime_epsilon: float | None, delta: float) -> None:
    """ValueError, in one line, for a lifetime budget under which no run could ever be planned."""
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


def pld_epsilon(terms: Sequence[tuple[float, int]], delta: float, accountant: int = ACCOUNTANT) -> float:
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
    epsilon = _epsilon(merged, delta, accountant)
    if not math.isfinite(epsilon):
        raise ValueError(f"delta {delta} is too small for the privacy accountant: use a larger delta")
    return epsilon


class _Pld(Protocol):
    """The part of dp-accounting's PrivacyLossDistribution that is used here."""

    def self_compose(self, num_times: int) -> _Pld: ...
    def compose(self, other: _Pld) -> _Pld: ...
    def get_epsilon_for_delta(self, delta: float) -> float: ...
    def get_delta_for_epsilon(self, epsilon: float) -> float: ...


_Terms = tuple[tuple[float, int], ...]
"""Distinct sigmas in ascending order, each with its number of queries of sensitivity 1."""


@lru_cache(maxsize=4096)
def _epsilon(terms: _Terms, delta: float, accountant: int = ACCOUNTANT) -> float:
    """Infinite where `delta` is below what the accountant resolves."""
    if not _in_reach(terms):
        return zcdp_epsilon(_rho(terms), delta)
    if accountant > 1 and len(terms) > 1:
        count = sum(count for _, count in terms)
        return min(epsilon_allowing_for_errors(_pld(terms), count, delta), zcdp_epsilon(_rho(terms), delta))
    found = float(_pld(terms).get_epsilon_for_delta(delta))
    if accountant == 1 or not math.isfinite(found):
        return found
    sigma, count = next(iter(terms))
    return max(found, exact_epsilon(sigma, count, delta)) if delta >= SMALLEST_DELTA / 10 else math.inf


def advantage(terms: _Terms, accountant: int = ACCOUNTANT) -> float:
    """Upper bound on the total variation distance: the delta at epsilon 0, or the bound of Bretagnolle and Huber."""
    if not _in_reach(terms):
        return min(1.0, math.sqrt(-math.expm1(-_rho(terms))))
    found = float(_pld(terms).get_delta_for_epsilon(0.0))
    if accountant > 1 and len(terms) == 1:
        sigma, count = next(iter(terms))
        found = max(found, exact_delta(sigma, count, 0.0))
    return min(1.0, found)


def epsilon_allowing_for_errors(composed: Any, count: int, delta: float) -> float:
    """Epsilon of a library's distribution that `count` transformed ones were composed to, less what they may err by.

    A transform of N values errs by at most 6 u log2(N) of their Euclidean norm (u = 2^-53; Higham 2002, theorem 24.2),
    its n-th power n times as much, and a sum of N errors sqrt(N) times that. The values are differences of numbers
    known to u, each of which errs by up to 3 u of the mass above it: 3 u N / 2 for a distribution about the middle of
    its cells. Infinite where that is all of `delta`.
    """

    def one_way(part: Any) -> float:
        cells = int(part.size)
        rest = delta - count * 2.0**-53 * (6 * math.sqrt(cells) * math.log2(cells + 1) + 1.5 * cells)
        return float(part.get_epsilon_for_delta(rest)) if rest > 0 else math.inf

    return max(one_way(composed._pmf_remove), one_way(composed._pmf_add))


def _in_reach(terms: _Terms) -> bool:
    """What was overspent, or spent in vast numbers of queries, gets a cruder figure, in little time and memory."""
    return _rho(terms) <= _MAX_RHO and sum(count for _, count in terms) <= _MAX_COUNT


def _rho(terms: _Terms) -> float:
    """Zero-concentrated DP (and so a bound on the Kullback-Leibler divergence) of the terms."""
    return sum(count / (2 * sigma * sigma) for sigma, count in terms)


@lru_cache(maxsize=8)
def _pld(terms: _Terms) -> _Pld:
    grid = _grid(terms)
    composed: _Pld | None = None
    for sigma, count in terms:
        part = _one(sigma, grid).self_compose(count)
        composed = part if composed is None else composed.compose(part)
    assert composed is not None, "callers pass at least one term"
    return composed


@lru_cache(maxsize=8)
def _one(sigma: float, grid: float) -> _Pld:
    """One query of sensitivity 1. By far the slower part for large sigma, and the same whatever the count."""
    # Imported here: dp-accounting pulls in SciPy, which takes about a second.
    from dp_accounting.pld import (  # pyright: ignore[reportMissingTypeStubs]
        privacy_loss_distribution as library,
    )

    return cast(
        _Pld,
        library.from_discrete_gaussian_mechanism(
            sigma, sensitivity=1, value_discretization_interval=grid, use_connect_dots=True
        ),
    )


def _grid(terms: _Terms) -> float:
    """The step of the grid on which privacy losses (natural logarithms) are accounted.

    Every step gives upper bounds; its choice trades slack for time. Connecting the dots keeps the mean of exp(-loss),
    so a step h adds about h^2 / 12 to each query's mean loss, which is 1 / (2 sigma^2). With h = f / sigma that is a
    share of f^2 / 6 whatever the count: at f = 0.015 epsilon gains less than 0.01 %.

    For small sigma (below 1 / (2 f), about 33) there is a step that loses nothing but last bits: all losses of one
    sigma are whole multiples of 1 / (2 sigma^2), and so of any whole fraction of it.
    """
    # For several sigmas, the root mean square of 1 / sigma takes the place of 1 / sigma.
    step = _FINENESS * math.sqrt(sum(count / sigma**2 for sigma, count in terms) / sum(count for _, count in terms))
    lattice = 0.5 / terms[0][0] ** 2
    if len(terms) == 1 and lattice > step:
        return lattice / math.ceil(lattice / step)
    # A few queries of small sigma among many of large sigma must not fill the memory: their losses span the most, up
    # to (11.6 sigma + 0.5) / sigma^2 on either side.
    return max(step, (24 / terms[0][0] + 1 / terms[0][0] ** 2) / _MAX_CELLS)


@lru_cache(maxsize=4096)
def zcdp_epsilon(rho: float, delta: float) -> float:
    """Epsilon at `delta` of anything that is `rho`-zero-concentrated DP (Bun and Steinke 2016, arXiv 1605.02065).

    The best of the conversions from Renyi DP of order a, which is a * rho, over a fixed set of orders (Canonne,
    Kamath, Steinke 2020, arXiv 2004.00010, proposition 12). As the minimum of increasing functions of rho it is
    increasing, and always finite.
    """
    # Imported here, as for privacy loss distributions.
    from dp_accounting import dp_event, rdp  # pyright: ignore[reportMissingTypeStubs]

    # The best order is near 1 + sqrt(ln(1/delta) / rho). Neighbours 5 % apart in a - 1 cost 0.03 % of epsilon at most.
    orders = [1.0, *(1 + 0.0101 * 1.05**i for i in range(380))]
    accountant: Any = rdp.RdpAccountant(orders)
    accountant.compose(dp_event.ZCDpEvent(rho))
    return float(accountant.get_epsilon(delta))


def _phi(x: float) -> float:
    """The standard normal's distribution function, accurate in the lower tail."""
    return 0.5 * math.erfc(-x / math.sqrt(2))
