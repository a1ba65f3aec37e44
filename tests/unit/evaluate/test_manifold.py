"""Precision, recall, density and coverage against prdc and a known expectation; copies are found."""

import math

import numpy as np
import pytest
from prdc import compute_prdc

from spti_ray.evaluate.manifold import NEAREST, check_copies, manifold_metrics, neighbour_radii


def samples(n, seed, shift=0.0, dimension=6):
    return np.random.default_rng(seed).standard_normal((n, dimension)) + shift


def figures(generated, real):
    found = manifold_metrics(generated, real, neighbour_radii(real))
    return {name.removesuffix("_N").removesuffix("_M"): values.mean() for name, values in found._asdict().items()}


@pytest.mark.parametrize("shift", [0.0, 0.8, 3.0])
def test_they_are_what_prdc_computes(shift, capsys):
    generated, real = samples(80, 1, shift), samples(120, 2)
    expected = compute_prdc(real, generated, NEAREST)
    assert figures(generated, real) == pytest.approx({name: float(value) for name, value in expected.items()})
    assert "120" in capsys.readouterr().out  # why the package itself is not used: it prints how many records there are


def test_coverage_by_real_images_is_what_theory_expects():
    # Naeem et al.: the k nearest of N + M samples of one distribution are all real ones with this probability.
    n, m = 60, 100
    expected = 1 - math.prod((m - 1 - i) / (m + n - 1 - i) for i in range(NEAREST))
    found = [figures(samples(n, 2 * i), samples(m, 2 * i + 1))["coverage"] for i in range(60)]
    assert np.mean(found) == pytest.approx(expected, abs=0.02)


def test_copies_of_records_are_found_and_fresh_images_are_not():
    real, fresh = samples(300, 1), samples(300, 2)
    copies = real[:100] + 1e-6
    assert check_copies(copies, real).copied_N.mean() == 1.0
    assert check_copies(copies, real).ratio < 0.01
    assert check_copies(fresh, real).copied_N.mean() < 0.05
    assert check_copies(fresh, real).ratio == pytest.approx(1.0, abs=0.1)


def test_copies_are_found_where_many_records_are_there_twice():
    real = np.repeat(samples(100, 1), 2, axis=0)
    assert check_copies(real[:50], real).copied_N.all()
    assert not check_copies(samples(50, 2), real).copied_N.any()
