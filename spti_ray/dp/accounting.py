"""Accounting: the epsilon of composed queries. Rule held here: every figure is an upper bound.

One query (the histogram of a generation) in which each record has k votes is at most k adaptively composed discrete
Gaussian mechanisms of sensitivity 1, since one record more or less changes k distinct counts by 1. T queries compose
k*T of them.

Figures come from privacy loss distributions (dp-accounting, connect-the-dots discretisation: Doroshenko et al. 2022,
arXiv 2207.04380), whose Fourier transforms may round to too small a value. `exact` computes the same without a
transform, and the larger of the two is used. Nothing is rounded towards less privacy. `calibration` chooses a run's
noise by these figures; `lifetime` says what holds for all runs on a dataset.

Figures have a version, `ACCOUNTANT`, which ledgers and certificates name, so that what an earlier version certified can
be computed again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol, cast

from spti_ray.dp.exact import exact_delta, exact_epsilon

ACCOUNTANT = 2
"""Version of all figures. 1: dp-accounting's alone. 2: never below what `exact` computes without a transform."""

SMALLEST_DELTA = 1e-14
"""Smallest delta of a dataset: the library counts 1e-15 of every composition as certain loss."""

MAX_COUNT = 100_000
"""Composed mechanisms up to which privacy loss distributions are computed."""

_MAX_RHO = 200.0
"""Zero-concentrated DP (epsilon near 300) up to which privacy loss distributions are computed."""

_GRID_FRACTION = 0.015
"""Step of the grid of privacy losses, in standard deviations of one query's loss. See `_grid_step`."""

_MAX_CELLS = 1e6
"""Cells of the grid that the losses of one query may span."""

Terms = tuple[tuple[float, int], ...]
"""(sigma, count) pairs with distinct sigmas in ascending order: `count` mechanisms of sensitivity 1."""


def pld_epsilon(terms: Sequence[tuple[float, int]], delta: float, accountant: int = ACCOUNTANT) -> float:
    """The certified epsilon at `delta` of composed discrete Gaussian mechanisms.

    Args:
        terms: (sigma, count) pairs in any order: `count` mechanisms of sensitivity 1. A query in which each record has
            k votes counts k times.
        accountant: the version of the accounting that computes the figure.

    Returns:
        An upper bound on epsilon; 0 for no terms.

    Raises:
        ValueError: `delta` is below what the accountant's arithmetic resolves, about 1e-15 per composition.
    """
    counts: dict[float, int] = {}
    for sigma, count in terms:
        counts[sigma] = counts.get(sigma, 0) + count
    merged = tuple(sorted((sigma, count) for sigma, count in counts.items() if count))
    if not merged:
        return 0.0
    epsilon = composed_epsilon(merged, delta, accountant)
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
def composed_epsilon(terms: Terms, delta: float, accountant: int = ACCOUNTANT) -> float:
    """As `pld_epsilon`, for merged terms; infinite where `delta` is below what the accountant resolves."""
    if not _in_reach(terms):
        return zcdp_epsilon(_rho(terms), delta)
    if accountant > 1 and len(terms) > 1:
        count = sum(count for _, count in terms)
        return min(epsilon_allowing_for_errors(_composed_pld(terms), count, delta), zcdp_epsilon(_rho(terms), delta))
    found = float(_composed_pld(terms).get_epsilon_for_delta(delta))
    if accountant == 1 or not math.isfinite(found):
        return found
    sigma, count = next(iter(terms))
    return max(found, exact_epsilon(sigma, count, delta)) if delta >= SMALLEST_DELTA / 10 else math.inf


def advantage(terms: Terms, accountant: int = ACCOUNTANT) -> float:
    """Upper bound on the total variation distance of the terms' outputs on neighbouring datasets.

    That is the delta at epsilon 0; where it is out of reach, the bound of Bretagnolle and Huber on it.
    """
    if not _in_reach(terms):
        return min(1.0, math.sqrt(-math.expm1(-_rho(terms))))
    found = float(_composed_pld(terms).get_delta_for_epsilon(0.0))
    if accountant > 1 and len(terms) == 1:
        sigma, count = next(iter(terms))
        found = max(found, exact_delta(sigma, count, 0.0))
    return min(1.0, found)


def epsilon_allowing_for_errors(composed: Any, count: int, delta: float) -> float:
    """Upper bound on epsilon at `delta` from a distribution that Fourier transforms composed, rounding errors included.

    Evaluates at `delta` less a bound on the errors. A transform of N values errs by at most 6 u log2(N) of their
    Euclidean norm (u = 2^-53; Higham 2002, theorem 24.2), its n-th power by n times as much, and a sum of N errors by
    sqrt(N) times that. The values themselves are differences of numbers known to u, each wrong by up to 3 u of the
    mass above it: 3 u N / 2 for a distribution about the middle of its cells.

    Args:
        composed: dp-accounting's PrivacyLossDistribution.
        count: how many distributions were composed to it.

    Returns:
        The larger epsilon of the two directions (add, remove); infinite where the errors may use up all of `delta`.
    """

    def one_way(part: Any) -> float:
        cells = int(part.size)
        rest = delta - count * 2.0**-53 * (6 * math.sqrt(cells) * math.log2(cells + 1) + 1.5 * cells)
        return float(part.get_epsilon_for_delta(rest)) if rest > 0 else math.inf

    return max(one_way(composed._pmf_remove), one_way(composed._pmf_add))


def _in_reach(terms: Terms) -> bool:
    """Whether privacy loss distributions are worth their time and memory; else a cruder bound is used."""
    return _rho(terms) <= _MAX_RHO and sum(count for _, count in terms) <= MAX_COUNT


def _rho(terms: Terms) -> float:
    """Zero-concentrated DP (and so a bound on the Kullback-Leibler divergence) of the terms."""
    return sum(count / (2 * sigma * sigma) for sigma, count in terms)


@lru_cache(maxsize=8)
def _composed_pld(terms: Terms) -> _Pld:
    grid = _grid_step(terms)
    composed: _Pld | None = None
    for sigma, count in terms:
        part = _single_query_pld(sigma, grid).self_compose(count)
        composed = part if composed is None else composed.compose(part)
    assert composed is not None, "callers pass at least one term"
    return composed


@lru_cache(maxsize=8)
def _single_query_pld(sigma: float, grid: float) -> _Pld:
    """The privacy loss distribution of one mechanism of sensitivity 1.

    Cached by itself: for large sigma this is by far the slowest part, and it does not depend on the count.
    """
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


def _grid_step(terms: Terms) -> float:
    """The step of the grid on which privacy losses (natural logarithms) are accounted.

    Every step gives upper bounds; a smaller one costs time and gives tighter ones. Connecting the dots keeps the mean
    of exp(-loss), so a step h adds about h^2 / 12 to each query's mean loss, which is 1 / (2 sigma^2). With
    h = f / sigma that is a share of f^2 / 6, whatever the count: at f = 0.015 epsilon grows by less than 0.01 %.

    For small sigma (below 1 / (2 f), about 33) some steps lose nothing but last bits: all losses of one sigma are
    whole multiples of 1 / (2 sigma^2), and so of any whole fraction of that.
    """
    # For several sigmas, the root mean square of 1 / sigma takes the place of 1 / sigma.
    step = _GRID_FRACTION * math.sqrt(
        sum(count / sigma**2 for sigma, count in terms) / sum(count for _, count in terms)
    )
    lattice = 0.5 / terms[0][0] ** 2
    if len(terms) == 1 and lattice > step:
        return lattice / math.ceil(lattice / step)
    # The losses of the smallest sigma span the most, up to (11.6 sigma + 0.5) / sigma^2 on either side. A few queries
    # of small sigma among many of large sigma must not fill the memory.
    return max(step, (24 / terms[0][0] + 1 / terms[0][0] ** 2) / _MAX_CELLS)


@lru_cache(maxsize=4096)
def zcdp_epsilon(rho: float, delta: float) -> float:
    """Epsilon at `delta` of anything that is `rho`-zero-concentrated DP (Bun and Steinke 2016, arXiv 1605.02065).

    rho-zCDP is Renyi DP of every order a at a * rho. This is the smallest of the conversions from Renyi DP over a
    fixed set of orders (Canonne, Kamath, Steinke 2020, arXiv 2004.00010, proposition 12). It is always finite, and it
    increases with rho, since each conversion does.
    """
    # Imported here, as for privacy loss distributions.
    from dp_accounting import dp_event, rdp  # pyright: ignore[reportMissingTypeStubs]

    # The best order is near 1 + sqrt(ln(1/delta) / rho). Neighbours 5 % apart in a - 1 cost 0.03 % of epsilon at most.
    orders = [1.0, *(1 + 0.0101 * 1.05**i for i in range(380))]
    accountant: Any = rdp.RdpAccountant(orders)
    accountant.compose(dp_event.ZCDpEvent(rho))
    return float(accountant.get_epsilon(delta))
