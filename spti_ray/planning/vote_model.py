"""What noise leaves of one vote: a model, tested against simulations in `tests/statistical/test_recommend.py`.

* The records' votes are spread exponentially over what they are asked about: a theme or candidate has `x` times the
  average, with x ~ Exp(1). Real votes are mostly more uneven, which is easier.
* Noise adds z / signal to x, with z ~ N(0, 1), where `signal` = N * k / (n * sigma): the votes of an average theme or
  candidate, in standard deviations of the noise.
* With labels, records are spread over them as the public shares say.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

POPULAR = 3.0
"""How many times the average number of votes a popular theme or candidate has."""


def selection_under_noise(signal: float, survivors: float) -> tuple[float, float]:
    """What noise leaves of one selection of candidates, under the model at the top of this file, in the limit of many.

    Without noise the survivors are those with x > ln(1 / survivors), and their mean is ln(1 / survivors) above the
    average.

    Args:
        signal: votes of an average candidate over sigma.
        survivors: the share of candidates that is selected.

    Returns:
        (gain kept, probability that a popular candidate survives); (0, 1) for a share of 1, which selects nothing.
    """
    # Imported here: SciPy takes a second.
    from scipy.special import ndtr
    from scipy.stats import exponnorm

    if survivors >= 1:
        return 0.0, 1.0
    cut = float(exponnorm.isf(survivors, signal, scale=1 / signal))
    x = _exponential()
    mean_of_survivors = float((x * ndtr((x - cut) * signal)).mean()) / survivors
    return (mean_of_survivors - 1) / -math.log(survivors), float(ndtr((POPULAR - cut) * signal))


def shares_under_noise(signal: float) -> tuple[float, float]:
    """What noise leaves of one vote on themes, whose shares are proportional to their noised votes after Norm-Sub.

    Without noise the mean votes of a theme, weighted by its share, are 1 above the average under the model at the top.

    Args:
        signal: votes of an average theme over sigma.

    Returns:
        (gain kept, probability that a popular theme has a share).
    """
    # Imported here: SciPy takes a second.
    from scipy.optimize import root_scalar
    from scipy.special import ndtr

    x = _exponential()

    def shares(cut: float) -> npt.NDArray[np.float64]:
        """The mean over the noise of what is left of x + z / signal above the cut."""
        above = (x - cut) * signal
        return (above * ndtr(above) + np.exp(-(above**2) / 2) / math.sqrt(2 * math.pi)) / signal

    # Norm-Sub takes off what makes the sum that of the votes.
    cut = float(root_scalar(lambda cut: float(shares(cut).mean()) - 1.0, bracket=(-1.0, 1.0 + 5.0 / signal)).root)
    return float((shares(cut) * x).mean()) - 1.0, float(ndtr((POPULAR - cut) * signal))


def _exponential() -> npt.NDArray[np.float64]:
    """20,000 quantiles of Exp(1) [20000]."""
    return -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
