"""Audit 2 of the privacy contract: the sampler against its exact probabilities, alpha 1e-6, and planted faults.

A correct sampler fails once in a million runs. A failure here is a finding, not noise.
"""

import numpy as np
import pytest

from spti_ray.audit.sampler import ALPHA, independence_p_value, run_sampler_audit
from tests.statistical import faults

LARGE = (3.742,)


def test_the_sampler_matches_its_exact_probabilities(report):
    sampler = report.sampler
    assert sampler.passed and sampler.p_value > ALPHA, sampler.line()
    assert min(sampler.sigmas) < 1 < max(sampler.sigmas) and sampler.draws >= 100_000


@pytest.mark.parametrize("factor", [1.02, 0.98])
def test_the_same_test_rejects_a_scale_that_is_two_percent_off(factor):
    result = run_sampler_audit(faults.scaled(factor), LARGE)
    assert not result.passed and result.worst.startswith("scale")


@pytest.mark.parametrize("factor", [1 / 1.5, 1.2, 0])
@pytest.mark.parametrize("sigma", [0.5, 22.26])
def test_the_same_test_rejects_a_wrong_scale(factor, sigma):
    assert not run_sampler_audit(faults.scaled(factor), (sigma,), draws=6_000).passed


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.2])
def test_the_same_test_rejects_rounded_float_noise_where_the_lattice_shows(sigma):
    assert not run_sampler_audit(faults.rounded_normal(), (sigma,)).passed


@pytest.mark.parametrize("fault", [faults.shifted, faults.nonzero_counts_only])
def test_the_same_test_rejects_a_shifted_mean_and_candidates_without_noise(fault):
    """The attacker of the canary audit misses the second: counts of exactly 0 do not fit his strategy."""
    assert not run_sampler_audit(fault(), LARGE, draws=20_000).passed


@pytest.mark.parametrize("fault", [faults.same_noise_in_each_call, faults.same_noise_for_neighbours])
def test_coordinates_and_calls_are_independent(fault, report):
    """The real sampler's are, by the first test; draws with the right shape that repeat are rejected."""
    assert report.sampler.passed
    result = run_sampler_audit(fault(), LARGE, draws=20_000)
    assert not result.passed and result.worst.startswith("independence")


def test_a_weak_dependence_at_any_distance_is_found():
    fresh = np.random.default_rng(0).normal(0, 3, 20_000)
    assert independence_p_value(np.rint(fresh).astype(np.int64)) > 1e-4
    for lag in (1, 7, 9_999):
        assert independence_p_value(np.rint(fresh + 0.1 * np.roll(fresh, lag)).astype(np.int64)) < 1e-12
