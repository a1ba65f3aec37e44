"""The sampler against its exact probabilities, and the same test against planted wrong scales.

alpha is 1e-6: a correct sampler fails once in a million runs. A flaky failure here is a finding, not noise.
"""

import math

import numpy as np
import pytest
from scipy import stats

from spti_ray.dp.mechanism import OpenDPNoise
from spti_ray.types import CountArray

ALPHA = 1e-6
NUM_DRAWS = 10_000


def draw(sigma: float, num_draws: int = NUM_DRAWS) -> CountArray:
    return OpenDPNoise().add_noise(np.zeros(num_draws, dtype=np.int64), sigma)


def discrete_gaussian_pmf(support: CountArray, sigma: float) -> np.ndarray:
    """Exact up to float64: exp(-x^2 / (2 sigma^2)) over its sum on a range that leaves out less than 1e-300."""
    reach = math.ceil(40 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.exp(-0.5 * (support / sigma) ** 2) / weights.sum()


def p_value(sample: CountArray, sigma: float) -> float:
    """Chi-square goodness of fit to the discrete Gaussian, tails pooled so that each cell expects at least 20."""
    reach = math.ceil(10 * sigma)
    pmf = discrete_gaussian_pmf(np.arange(-reach, reach + 1), sigma)
    expected = pmf * len(sample)
    inner = np.flatnonzero(np.minimum(np.cumsum(expected), np.cumsum(expected[::-1])[::-1]) >= 20)
    low, high = int(inner[0]) - reach, int(inner[-1]) - reach  # the end cells hold all that lies beyond them
    cells = np.clip(sample, low, high) - low
    observed = np.bincount(cells, minlength=high - low + 1)
    shares = pmf[inner[0] : inner[-1] + 1].copy()
    shares[0], shares[-1] = pmf[: inner[0] + 1].sum(), pmf[inner[-1] :].sum()
    return float(stats.chisquare(observed, shares / shares.sum() * len(sample)).pvalue)


@pytest.mark.parametrize("sigma", [0.6, 3.742, 22.26])
def test_the_sampler_matches_its_exact_probabilities(sigma: float):
    assert p_value(draw(sigma), sigma) > ALPHA


@pytest.mark.parametrize("sigma", [0.6, 3.742, 22.26])
@pytest.mark.parametrize("fault", [1 / 1.5, 1.2])
def test_the_same_test_rejects_a_wrong_scale(sigma: float, fault: float):
    assert p_value(draw(sigma * fault), sigma) < ALPHA


def test_the_same_test_rejects_no_noise_and_a_shifted_mean():
    sigma = 3.742
    assert p_value(np.zeros(NUM_DRAWS, dtype=np.int64), sigma) < ALPHA
    assert p_value(draw(sigma) + 1, sigma) < ALPHA


def test_coordinates_and_calls_are_independent():
    """Correlations of neighbours and of two calls stay within 5 standard errors (two-sided 6e-7)."""
    first, second = draw(3.742), draw(3.742)
    for x, y in ((first[:-1], first[1:]), (first, second)):
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / math.sqrt(len(x))
