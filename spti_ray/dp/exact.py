"""Epsilon of many queries with one sigma, without a transform. Rule held here: rounding never lowers a figure.

The privacy loss of n composed discrete Gaussians of sensitivity 1 is (n/2 + S) / sigma^2, where S is the sum of their
noises. So delta(epsilon) = E[1 - exp(epsilon - loss)]_+ is a sum of positive terms over the integers, and
double-precision arithmetic errs by a fraction of the *result*, however small delta is. A Fourier transform errs by a
fraction of the *whole mass*: at a delta of 1e-12 its result may be wrong in the fourth digit, in either direction.

The distribution of S:
- For sigma below `_SMOOTH` it is convolved directly, out to where subgaussian tails leave 1e-10 of delta.
- For larger sigma it is, up to a factor, that of one discrete Gaussian Y of variance parameter V = n sigma^2. The sum
  of two noises is z with a probability of exp(-z^2 / 2V) times a theta sum, which is periodic in z and varies by the
  factor 1 +- 2q/(1-q) about its mean, where q = exp(-2 pi^2 v), v = sigma_1^2 sigma_2^2 / (sigma_1^2 + sigma_2^2).
  For n noises, P(S = z) / P(Y = z) is at most exp(10 sum over k < n of exp(-2 pi^2 sigma^2 k / (k+1))) (Kairouz, Liu,
  Steinke 2021, arXiv 2102.06387).

All results are upper bounds: every error that arithmetic or a cut tail may make is bounded and added.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_SMOOTH = 1.5
"""From this sigma on, the factor between the probabilities of S and Y is below 1 + 3e-9."""

_WIDE = 1000.0
"""From this standard deviation on, tails of Y are integrals with a correction, not sums."""

_ROUNDING = 1e-11
"""Bound on relative rounding errors of tail sums: fewer than 30,000 additions of positive numbers."""

_CONVOLVING = 4e-13
"""The same bound for each convolution: there every sum is of fewer than 1,800 products."""

_LEFT_OUT = 1e-10
"""Fraction of delta that the tails which are not summed may have. It counts as certain loss."""

_Floats = npt.NDArray[np.floating[Any]]


@lru_cache(maxsize=4096)
def exact_epsilon(sigma: float, count: int, delta: float) -> float:
    """The smallest epsilon, rounded up, at which `count` queries of sensitivity 1 have at most `delta`.

    Valid for 0 < count / (2 sigma^2) <= 200, count <= 100,000 and 1e-18 <= delta < 1.
    """
    if sigma >= _SMOOTH and math.sqrt(count) * sigma >= _WIDE:
        return _wide_epsilon(sigma, count, delta)
    sums, weights, slack = _noise_sum(sigma, count, delta)
    target = delta * (1 - _LEFT_OUT)
    losses = (count / 2 + sums) / sigma**2  # descending
    losses, weights = losses[losses >= 0], weights[losses >= 0]
    # Scaled by the largest loss, which is below 650, so that no power overflows.
    scaled = losses - losses[0]
    mass = np.cumsum(weights) * (1 + slack)
    shifted = np.cumsum(weights * np.exp(-scaled)) * (1 - slack)
    over = np.flatnonzero(mass - np.exp(scaled) * shifted >= target)
    last = int(over[0]) - 1 if len(over) else len(losses) - 1  # up to here losses are above epsilon
    if last < 0 or mass[last] <= target:
        return float(losses[over[0]]) if len(over) else 0.0
    return max(0.0, float(losses[0] + math.log((mass[last] - target) / shifted[last])))


def exact_delta(sigma: float, count: int, epsilon: float, precision: float = 1e-12) -> float:
    """The delta at `epsilon` of `count` queries of sensitivity 1.

    Rounded up, by less than 1e-8 of the result plus 1e-10 times `precision`.
    """
    if sigma >= _SMOOTH and math.sqrt(count) * sigma >= _WIDE:
        return min(1.0, _wide_delta(sigma, count, epsilon) + _LEFT_OUT * precision)
    sums, weights, slack = _noise_sum(sigma, count, precision)
    excess = epsilon - (count / 2 + sums) / sigma**2
    kept, above = weights[excess < 0], excess[excess < 0]
    return min(1.0, float(kept @ -np.expm1(above)) + slack * float(kept.sum()) + _LEFT_OUT * precision)


def _noise_sum(sigma: float, count: int, delta: float) -> tuple[_Floats, _Floats, float]:
    """The distribution of the sum of the noises, at least for all sums with a privacy loss above 0.

    Returns:
        (the sums in descending order, their probabilities, a bound on the probabilities' relative error). The
        probability that is left out is at most `_LEFT_OUT * delta`.
    """
    variance = count * sigma**2
    if sigma < _SMOOTH:
        weights = _convolved(sigma, count, delta)
        reach = len(weights) // 2
        return np.arange(reach, -reach - 1, -1.0), weights, _CONVOLVING * count + _ROUNDING
    # A discrete Gaussian's tail beyond t, on one side, is at most exp(-t^2 / 2V) (Canonne, Kamath, Steinke 2020).
    reach = math.ceil(math.sqrt(2 * variance * math.log(2 / (_LEFT_OUT * delta))))
    sums = np.arange(reach, max(-reach, -(count // 2) - 2) - 1, -1.0)
    weights = np.exp(-(sums**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)  # the norm is a little larger
    return sums, weights * math.exp(_unevenness(sigma, count)), _ROUNDING


def _unevenness(sigma: float, count: int) -> float:
    """Upper bound on log(P(S = z) / P(Y = z)) for all z; terms from the ninth on are bounded by the ninth."""
    exponent = -2 * math.pi**2 * sigma**2
    first = sum(math.exp(exponent * k / (k + 1)) for k in range(1, min(count, 9)))
    return 10 * (first + max(0, count - 9) * math.exp(exponent * 0.9))


@lru_cache(maxsize=8)
def _convolved(sigma: float, count: int, delta: float) -> _Floats:
    """The probabilities of the sum, from its lowest to its highest value within reach; symmetric about 0.

    The sum of m noises is cut where its subgaussian tail (of variance m sigma^2) is at most exp(-bound) on each side.
    Fewer than 3 * count such sums go into the result, so at most 6 * count such tails are left out.
    """
    bound = math.log(6 * count / (_LEFT_OUT * delta))

    def cut(weights: _Floats, noises: int) -> _Floats:
        reach, have = math.ceil(sigma * math.sqrt(2 * noises * bound)), len(weights) // 2
        return weights[have - reach : have + reach + 1] if reach < have else weights

    reach = math.ceil(sigma * math.sqrt(2 * bound))
    one = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    power, noises, total, summed = one / one.sum(), 1, np.ones(1), 0
    while True:
        if count & noises:
            summed += noises
            # Sums of positive products, never a transform.
            total = cut(np.convolve(total, power), summed)
        noises *= 2
        if noises > count:
            return total
        power = cut(np.convolve(power, power), noises)


def _wide_epsilon(sigma: float, count: int, delta: float) -> float:
    """By bisection to the last bits; the upper end is returned."""
    rho = count / (2 * sigma * sigma)
    low, high = 0.0, rho + 2 * math.sqrt(rho * math.log(1 / delta))  # an upper bound, by zero-concentrated DP
    if _wide_delta(sigma, count, low) <= delta:
        return low
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _wide_delta(sigma, count, middle) > delta else (low, middle)
    return high


def _wide_delta(sigma: float, count: int, epsilon: float) -> float:
    """delta(epsilon) = P(Y >= a) - e^epsilon P(Y >= a + n), with a the first sum whose loss is above epsilon."""
    variance = count * sigma**2
    first = math.floor(sigma**2 * epsilon - count / 2) + 1
    mass, shifted = _wide_tail(first, variance), _wide_tail(first + count, variance)
    furthest = abs(first + count) / math.sqrt(variance)
    # Twice the first term that `_wide_tail` leaves out of its series: 7/5760 of a third derivative.
    slack = _ROUNDING + 2.5e-3 * (3 + furthest**4) / variance**2
    exact = mass * (1 + slack) - math.exp(epsilon) * shifted * (1 - slack)
    return max(0.0, exact) * math.exp(_unevenness(sigma, count))


def _wide_tail(first: int, variance: float) -> float:
    """Sum over s >= first of exp(-s^2 / 2V) / sqrt(2 pi V): midpoint rule, and the Euler-Maclaurin correction."""
    at = (first - 0.5) / math.sqrt(variance)
    density = math.exp(-0.5 * at * at) / math.sqrt(2 * math.pi)
    return 0.5 * math.erfc(at / math.sqrt(2)) - at * density / (24 * variance)
