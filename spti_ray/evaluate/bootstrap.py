"""Bootstrap intervals with a public seed. Images of one text or one group are drawn together (cluster bootstrap)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RESAMPLES = 200
"""How many resamples an interval comes from by default."""

_Z = 1.959964
_PERCENTILES = (2.5, 97.5)


class Estimate(NamedTuple):
    """A figure with its 95 % interval, which is None where resampling can not give one."""

    value: float
    low: float | None = None
    high: float | None = None


def resample_weights(clusters_N: Integers, resamples: int, rng: np.random.Generator) -> Floats:
    """Draw bootstrap resamples of whole clusters, with replacement.

    Args:
        clusters_N: The number of each item's cluster.
        resamples: How many resamples (R) to draw.
        rng: Source of the draws.

    Returns:
        Weights [R, N]: how often each item is in each resample.
    """
    clusters, cluster_of_N = np.unique(clusters_N, return_inverse=True)
    draws = rng.multinomial(len(clusters), np.full(len(clusters), 1.0 / len(clusters)), size=resamples)
    return draws[:, cluster_of_N].astype(np.float64)


def estimate_mean(values_N: Floats, weights_RN: Floats) -> Estimate:
    """The mean of `values_N` with the percentile interval of its resamples (`resample_weights`)."""
    value = float(np.mean(values_N))
    if not len(weights_RN):
        return Estimate(value)
    return percentile_estimate(value, weights_RN @ values_N / weights_RN.sum(axis=1))


def percentile_estimate(value: float, replicates_R: Floats) -> Estimate:
    """`value` with the percentile interval of its values on resamples, at least one."""
    low, high = np.percentile(replicates_R, _PERCENTILES)
    return Estimate(value, float(low), float(high))


def estimate_with_error(value: float, replicates_R: list[float], lowest: float | None = None) -> Estimate:
    """`value` plus and minus 1.96 bootstrap standard errors, for statistics that resampling biases.

    A resample holds some items twice, which looks like less diversity. So its statistic is biased, but its spread is
    right. The interval is about the statistic at this sample size.

    Args:
        value: The statistic of the sample itself.
        replicates_R: The statistic of each resample. With fewer than two there is no interval.
        lowest: The least value that the statistic can have; the interval is cut there.
    """
    if len(replicates_R) < 2:
        return Estimate(value)
    error = _Z * float(np.std(replicates_R, ddof=1))
    low = value - error
    return Estimate(value, low if lowest is None else max(low, lowest), value + error)
