"""Bootstrap intervals with a public seed. Images that hang together (one text, one group) are drawn together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_Z = 1.959964
_PERCENTILES = (2.5, 97.5)


class Estimate(NamedTuple):
    """A figure with its 95 % interval; none where resampling says nothing about it."""

    value: float
    low: float | None = None
    high: float | None = None


def resampled(clusters_N: Integers, resamples: int, rng: np.random.Generator) -> Floats:
    """[resamples, N] weights: how often each item is in each resample, whole clusters drawn with replacement."""
    clusters, cluster_of_N = np.unique(clusters_N, return_inverse=True)
    draws = rng.multinomial(len(clusters), np.full(len(clusters), 1.0 / len(clusters)), size=resamples)
    return draws[:, cluster_of_N].astype(np.float64)


def of_mean(values_N: Floats, weights_RN: Floats) -> Estimate:
    """The mean, with the percentile interval of its resamples."""
    value = float(np.mean(values_N))
    if not len(weights_RN):
        return Estimate(value)
    low, high = np.percentile(weights_RN @ values_N / weights_RN.sum(axis=1), _PERCENTILES)
    return Estimate(value, float(low), float(high))


def around(value: float, replicates_R: list[float], lowest: float | None = None) -> Estimate:
    """The value plus and minus 1.96 bootstrap standard errors, for statistics that resampling biases.

    A resample holds items twice, which looks like less diversity: the replicates lie around another value, but spread
    as the estimate does. The interval is of the value at this sample size.
    """
    if len(replicates_R) < 2:
        return Estimate(value)
    error = _Z * float(np.std(replicates_R, ddof=1))
    low = value - error
    return Estimate(value, low if lowest is None else max(low, lowest), value + error)
