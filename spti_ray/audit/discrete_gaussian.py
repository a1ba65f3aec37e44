"""The discrete Gaussian's exact probabilities (Canonne, Kamath, Steinke 2020, arXiv 2004.00010), for the audits."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Probabilities = npt.NDArray[np.float64]


def probabilities(reach: int, sigma: float) -> Probabilities:
    """P(Z = x) for x = -reach..reach, where Z ~ N_Z(0, sigma^2), as float64 [2 * reach + 1]; exact up to rounding."""
    # The normalising sum leaves out less than 1e-300 of itself.
    far = np.arange(-math.ceil(40 * sigma), math.ceil(40 * sigma) + 1)
    normaliser = np.exp(-0.5 * (far / sigma) ** 2).sum()
    return np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2) / normaliser


def gaussian_dp_mu(sigma: float) -> float:
    """The mu for which one count with this noise is mu-GDP when it changes by 1; slightly above 1 / sigma.

    The most powerful tests of Z against Z + 1 reject from a threshold t on. Their points (false positive rate, power)
    must all be on or below the curve of the continuous Gaussian with shift mu. That curve is concave, so everything
    between the points is below it too (Dong, Roth, Su 2019, arXiv 1905.02383). At sigma 3.74, mu is 0.3 % above
    1 / sigma.
    """
    # Thresholds t <= 0 mirror those above 0; no experiment reaches 12 sigma (probability 1e-33).
    reach, highest = math.ceil(24 * sigma), math.ceil(12 * sigma)
    at_least = np.cumsum(probabilities(reach, sigma)[::-1])[::-1]
    quantiles = ndtri(at_least[reach : reach + highest + 1])  # of P(Z >= 0), P(Z >= 1), ...
    return float((quantiles[:-1] - quantiles[1:]).max())
