"""The Fréchet distance against torchmetrics and against what is known in closed form."""

import numpy as np
import pytest

from spti_ray.evaluate.frechet import frechet, frechet_infinity, moments


def by_torchmetrics(x_NE, y_ME):
    import torch  # takes seconds, and only this comparison needs it
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Features(torch.nn.Module):
        num_features = x_NE.shape[1]

        def forward(self, rows):
            return rows

    metric = FrechetInceptionDistance(Features(), input_img_size=x_NE.shape[1:])
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(x_NE), real=False)
    metric.update(torch.from_numpy(y_ME), real=True)
    return float(metric.compute())


def correlated(n, dimension, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dimension)) @ rng.standard_normal((dimension, dimension)) + shift


@pytest.mark.parametrize(("n", "m", "dimension"), [(300, 200, 16), (40, 300, 16), (300, 17, 16)])
def test_it_is_what_torchmetrics_computes(n, m, dimension):
    x, y = correlated(n, dimension, 1), correlated(m, dimension, 2, shift=0.5)
    assert frechet(moments(x), moments(y)) == pytest.approx(by_torchmetrics(x, y), rel=1e-6)


def test_fewer_samples_than_dimensions_are_exact_too():
    x, y = correlated(9, 30, 1), correlated(12, 30, 2)
    # The same samples in the few directions that they span, where no covariance is singular.
    basis = np.linalg.svd(np.vstack([x, y]), full_matrices=False)[2]
    assert frechet(moments(x), moments(y)) == pytest.approx(frechet(moments(x @ basis.T), moments(y @ basis.T)))
    swapped = frechet(moments(y), moments(x))
    assert frechet(moments(x), moments(y)) == pytest.approx(swapped)


def test_of_scaled_and_moved_samples_it_is_the_closed_form():
    x = correlated(500, 8, 3)
    covariance = np.cov(x.T)
    moved = 2.0 * (x - x.mean(axis=0)) + x.mean(axis=0) + 3.0
    assert frechet(moments(x), moments(moved)) == pytest.approx(8 * 9.0 + np.trace(covariance))
    assert frechet(moments(x), moments(x)) == pytest.approx(0.0, abs=1e-9)


def test_features_that_are_sums_of_others_change_nothing():
    x, y = correlated(100, 6, 4), correlated(90, 6, 5)
    doubled = [np.hstack([z, z]) for z in (x, y)]
    assert frechet(*map(moments, doubled)) == pytest.approx(2 * frechet(moments(x), moments(y)))


def test_a_weight_of_two_is_a_sample_that_is_there_twice():
    x = correlated(50, 5, 6)
    weights = np.random.default_rng(0).integers(0, 3, 50)
    repeated, weighted = moments(np.repeat(x, weights, axis=0)), moments(x, weights.astype(float))
    assert np.allclose(repeated.mean_E, weighted.mean_E)
    assert np.allclose(repeated.covariance_EE, weighted.covariance_EE)


def test_the_extrapolation_takes_the_bias_of_few_samples_off():
    rng = np.random.default_rng(7)
    pairs = [(rng.standard_normal((200, 10)), rng.standard_normal((100, 10))) for _ in range(20)]
    biased = np.mean([frechet(moments(x), moments(y)) for x, y in pairs])
    extrapolated = np.mean([frechet_infinity(x, y, rng) for x, y in pairs])
    assert biased > 0.3 and abs(extrapolated) < 0.1 * biased
