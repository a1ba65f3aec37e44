"""The intervals hold as often as they say, by simulation of the noise and of the sampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.public.noised_ratio import half_width, noised_ratio, records_for

TRIALS = 1500
SLACK = 0.023
"""Four standard deviations of how often an interval of 95 % holds in so many trials."""


def often(right, wrong, truth, sigma, interval) -> float:
    """How often the interval of noised counts has the true ratio in it."""
    rng = np.random.default_rng(1)
    noise = np.rint(rng.normal(0, sigma, (2, TRIALS))).astype(int)
    found = [
        getattr(noised_ratio(int(a), int(b), sigma, 0.95), interval)
        for a, b in zip(right + noise[0], wrong + noise[1], strict=True)
    ]
    return float(np.mean([low <= truth <= high for low, high in found]))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([0.3, 1.0, 4.0, 40.0, 400.0]))
def test_the_interval_of_these_records_holds_for_any_counts_and_noise(right, wrong, sigma):
    if right + wrong:
        assert often(right, wrong, right / (right + wrong), sigma, "of_these") >= 0.95 - SLACK


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("sigma", [1.0, 20.0])
def test_the_interval_of_such_records_holds_where_they_are_a_sample(share, sigma):
    right = np.random.default_rng(2).binomial(800, share, TRIALS)
    assert 0.95 - SLACK <= often(right, 800 - right, share, sigma, "of_such") <= 1


def test_the_interval_is_no_wider_than_it_must_be():
    held = often(700, 300, 0.7, 8.0, "of_these")
    assert 0.95 - SLACK <= held <= 0.95 + SLACK
    (low, high), expected = noised_ratio(700, 300, 8.0, 0.95).of_these, 1.96 * 8.0 * (0.7**2 + 0.3**2) ** 0.5 / 1000
    assert (high - low) / 2 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("right", "wrong", "ratio"), [(3, -2, 1.0), (-2, 3, 0.0), (1, -1, None), (-5, -9, None), (0, 0, None), (3, 1, 0.75)]
)
def test_whatever_the_noise_made_of_the_counts_there_is_an_answer(right, wrong, ratio):
    found = noised_ratio(right, wrong, 5.0, 0.95)
    assert found.ratio == ratio
    for low, high in (found.of_these, found.of_such):
        assert 0 <= low <= high <= 1
    assert found.of_these == (0.0, 1.0), "so few stand out from no noise"


def test_a_sum_of_more_counts_has_more_noise():
    one, four = (noised_ratio(900, 100, 5.0, 0.95, counts).of_these for counts in (1, 4))
    assert four[1] - four[0] == pytest.approx(2 * (one[1] - one[0]), rel=0.05)


def test_a_planned_width_is_the_largest_that_is_found():
    half = half_width(1000, 8.0, 0.95)
    low, high = noised_ratio(0, 1000, 8.0, 0.95).of_these
    assert low == 0 and high == pytest.approx(half, rel=0.02)
    assert half_width(records_for(0.01, 8.0, 0.95), 8.0, 0.95) <= 0.01 < half_width(1000, 8.0, 0.95, 4)
    assert half_width(1, 8.0, 0.95) == 0.5
