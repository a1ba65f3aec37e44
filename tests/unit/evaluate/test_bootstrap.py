"""Intervals: clusters are drawn whole, and 95 % means 95 %."""

import numpy as np
import pytest

from spti_ray.evaluate.bootstrap import estimate_mean, estimate_with_error, resample_weights


def test_images_of_one_text_are_drawn_together():
    clusters = np.array([0, 0, 0, 1, 1, 2])
    weights = resample_weights(clusters, 50, np.random.default_rng(0))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 3, 5]].sum(axis=1) == 3).all()


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        _, low, high = estimate_mean(rng.standard_normal(60) + 2.0, resample_weights(np.arange(60), 200, rng))
        hits += low <= 2.0 <= high
    assert 180 <= hits <= 199


def test_the_spread_of_clusters_is_wider_than_that_of_their_members():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.standard_normal(30), 10)
    alone = estimate_mean(values, resample_weights(np.arange(300), 400, rng))
    together = estimate_mean(values, resample_weights(np.repeat(np.arange(30), 10), 400, rng))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_an_interval_lies_around_the_value_and_not_below_what_is_possible():
    value, low, high = estimate_with_error(1.0, [3.0, 5.0, 7.0], lowest=0.0)
    assert (value, low) == (1.0, 0.0) and high == pytest.approx(1 + 1.959964 * 2)
    assert estimate_with_error(1.0, [3.0]).low is None
