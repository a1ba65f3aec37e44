"""Distances of label distributions, against known answers."""

import numpy as np
import pytest

from spti_ray.evaluate.bootstrap import resample_weights
from spti_ray.evaluate.label_metrics import chance_label_distance, label_distance

NO_RESAMPLES = np.zeros((0, 0))


def test_the_distance_is_the_total_variation():
    real = np.array(["a"] * 50 + ["b"] * 50)
    assert label_distance(np.array(["a"] * 10), real, NO_RESAMPLES).value == pytest.approx(0.5)
    assert label_distance(np.array(["b", "a"]), real, NO_RESAMPLES).value == pytest.approx(0.0)
    assert label_distance(np.array(["c"]), real, NO_RESAMPLES).value == pytest.approx(1.0)
    assert label_distance(np.array(["a", "a", "a", "b"]), real, NO_RESAMPLES).value == pytest.approx(0.25)


def test_its_interval_holds_it():
    labels, real = np.array(["a"] * 30 + ["b"] * 10), np.array(["a", "b"] * 100)
    value, low, high = label_distance(labels, real, resample_weights(np.arange(40), 200, np.random.default_rng(0)))
    assert value == pytest.approx(0.25) and low < value < high


def test_chance_is_what_as_many_real_labels_would_show():
    real = np.array(["a", "b"] * 500)
    # The mean absolute deviation of a binomial share: sqrt(1 / (2 pi n)).
    found = chance_label_distance(real, 100, np.random.default_rng(0), draws=4000)
    assert found == pytest.approx(np.sqrt(1 / (2 * np.pi * 100)), rel=0.05)
    assert chance_label_distance(np.array(["a"] * 9), 5, np.random.default_rng(0)) == 0.0
