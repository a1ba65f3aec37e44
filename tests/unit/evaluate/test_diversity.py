"""The Vendi score against its authors' package and known cases."""

import numpy as np
import pytest
from vendi_score import vendi as published

from spti_ray.evaluate.diversity import vendi


@pytest.mark.parametrize(("n", "dimension"), [(40, 12), (12, 40)])
def test_it_is_what_the_published_package_computes(n, dimension):
    features = np.random.default_rng(0).standard_normal((n, dimension))
    assert vendi(features) == pytest.approx(float(published.score_X(features)))


def test_it_counts_images_that_are_unlike():
    assert vendi(np.eye(7)) == pytest.approx(7.0)
    assert vendi(np.repeat(np.eye(3), 5, axis=0)) == pytest.approx(3.0)
    assert vendi(np.ones((9, 4))) == pytest.approx(1.0)


def test_a_weight_of_two_is_an_image_that_is_there_twice():
    features = np.random.default_rng(1).standard_normal((6, 4))
    weights = np.array([2, 0, 1, 1, 3, 1])
    assert vendi(features, weights.astype(float)) == pytest.approx(vendi(np.repeat(features, weights, axis=0)))
