"""KID and CMMD against torchmetrics, and that they are unbiased."""

import numpy as np
import pytest

from spti_ray.evaluate.kernels import KernelMatrices, cubic, gaussian


def kernels(kernel, x, y):
    return KernelMatrices(kernel(x, x), kernel(x, y), kernel(y, y))


def samples(n, seed, shift=0.0, dimension=12):
    return np.random.default_rng(seed).standard_normal((n, dimension)) + shift


def test_kid_is_what_torchmetrics_computes():
    import torch  # takes seconds, and only the comparisons need it
    from torchmetrics.image.kid import poly_mmd

    x, y = samples(60, 1), samples(60, 2, 0.3)
    expected = float(poly_mmd(torch.from_numpy(y), torch.from_numpy(x)))
    assert kernels(cubic, x, y).mmd2() == pytest.approx(expected)


def test_cmmd_is_the_same_estimate_with_a_gaussian_kernel_on_features_of_length_1():
    import torch
    from torchmetrics.image.kid import maximum_mean_discrepancy

    x, y = samples(60, 1), samples(60, 2, 0.3)
    unit = [torch.nn.functional.normalize(torch.from_numpy(z), dim=1) for z in (x, y)]
    pairs = ((unit[0], unit[0]), (unit[0], unit[1]), (unit[1], unit[1]))
    xx, xy, yy = (torch.exp(-torch.cdist(a, b).square() / 200) for a, b in pairs)
    assert kernels(gaussian, x, y).mmd2() == pytest.approx(float(maximum_mean_discrepancy(xx, xy, yy)), rel=1e-5)


@pytest.mark.parametrize("kernel", [cubic, gaussian])
@pytest.mark.parametrize(("n", "m"), [(8, 8), (8, 30)])
def test_of_samples_of_one_distribution_it_is_zero_on_average_at_any_size(kernel, n, m):
    found = [kernels(kernel, samples(n, 2 * i), samples(m, 2 * i + 1)).mmd2() for i in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 20


def test_a_resampled_pair_of_one_image_is_no_pair():
    x, y = samples(10, 1), samples(20, 2)
    twice = np.full(10, 2.0)
    assert kernels(cubic, x, y).mmd2(twice) == pytest.approx(kernels(cubic, x, y).mmd2())
