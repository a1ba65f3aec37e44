"""The ratio of two noised counts, with intervals. Post-processing: nothing but noised counts and their noise is used.

Counts R of right and W of wrong answers, each with its own noise of standard deviation s, are noised from r and w.
For p = r / (r + w) the number T(p) = (1 - p) R - p W has mean zero and variance s^2 (p^2 + (1 - p)^2), whatever r + w
is. So the p in [0, 1] with |T(p)| at most z standard deviations are an interval for the ratio of *these* records
(Fieller 1954, for a ratio of two counts that are not known apart from noise). If the records are a sample of others,
r itself has the variance (r + w) p (1 - p), which T(p) has in addition; r + w is then taken as R + W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

_LATTICE = 0.25
"""Added to the variance of each count: the square of the largest error by which a whole number stands for a real one.
The noise is discrete, and its quantiles are not those of a normal distribution; for a sigma above 3 this adds 1.4 %."""


@dataclass(frozen=True)
class NoisedRatio:
    """Noised counts, their ratio and its intervals.

    `ratio`: right / (right + wrong), within 0 and 1; None where the sum is not positive. `of_these`: (low, high), an
    interval for the ratio of exactly these private records, which accounts for the noise alone. `of_such`: one for
    records of the kind that these are a random sample of, which accounts for noise and sampling.
    """

    right: int
    wrong: int
    ratio: float | None
    of_these: tuple[float, float]
    of_such: tuple[float, float]


def noised_ratio(right: int, wrong: int, sigma: float, confidence: float, counts_each: int = 1) -> NoisedRatio:
    """The ratio of two noised counts.

    Args:
        right, wrong: the noised counts.
        sigma: the scale of the discrete Gaussian noise of one count.
        confidence: of each interval, such as 0.95.
        counts_each: how many noised counts `right` and `wrong` are each the sum of.
    """
    total, noise = right + wrong, counts_each * (sigma**2 + _LATTICE)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return NoisedRatio(
        right,
        wrong,
        min(1.0, max(0.0, right / total)) if total > 0 else None,
        _interval(right, wrong, z * z * noise, 0.0),
        _interval(right, wrong, z * z * noise, z * z * max(0, total)),
    )


def _interval(right: int, wrong: int, noise: float, sampling: float) -> tuple[float, float]:
    """The p in [0, 1] with T(p)^2 <= noise (p^2 + (1 - p)^2) + sampling p (1 - p), or an interval around them."""
    total = right + wrong
    # As a p^2 - 2 b p + c <= 0.
    a = total**2 - 2 * noise + sampling
    b = right * total - noise + sampling / 2
    c = right**2 - noise
    if a <= 0:
        return 0.0, 1.0  # the counts do not stand out from the noise: what is left may be in two pieces
    root = math.sqrt(max(0.0, b * b - a * c))
    low, high = (b - root) / a, (b + root) / a
    return min(1.0, max(0.0, low)), min(1.0, max(0.0, high))


def half_width(records: int, sigma: float, confidence: float, counts_each: int = 1) -> float:
    """The largest half of an interval of `of_these` that is to be expected with so many records; at most 0.5.

    It is that of a ratio near 0 or 1, and 0.7 times as large at one half.
    """
    noise = counts_each * (sigma**2 + _LATTICE)
    return min(0.5, NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(noise) / records) if records else 0.5


def records_for(half: float, sigma: float, confidence: float, counts_each: int = 1) -> int:
    """How many records make the largest half of an interval this small."""
    noise = counts_each * (sigma**2 + _LATTICE)
    return math.ceil(NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(noise) / half)
