import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from spti_ray.audit.discrete_gaussian import gaussian_dp_mu, probabilities


@pytest.mark.parametrize("sigma", [0.4, 0.8, 3.742, 50.0])
def test_probabilities_are_symmetric_sum_to_one_and_fall_as_the_formula_says(sigma):
    reach = int(30 * sigma) + 5
    pmf = probabilities(reach, sigma)
    assert pmf.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(pmf, pmf[::-1])
    assert pmf[reach + 1] / pmf[reach] == pytest.approx(np.exp(-0.5 / sigma**2))


def test_mu_is_slightly_more_than_the_continuous_gaussians():
    assert gaussian_dp_mu(3.742) == pytest.approx(0.26804, abs=1e-4)
    assert 1 / 22 < gaussian_dp_mu(22.0) < 1.0002 / 22


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.3, 3.742])
def test_no_threshold_test_beats_the_curve_of_mu(sigma):
    mu, reach = gaussian_dp_mu(sigma), 300
    at_least = np.cumsum(probabilities(reach, sigma)[::-1])[::-1]
    for threshold in range(-int(8 * sigma), int(8 * sigma)):
        false_alarms, power = at_least[reach + threshold], at_least[reach + threshold - 1]
        assert power <= ndtr(ndtri(false_alarms) + mu) * (1 + 1e-9)
