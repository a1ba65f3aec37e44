import math
import subprocess
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spti_ray.dp.accounting import pld_epsilon, zcdp_epsilon
from spti_ray.dp.calibration import calibrate
from tests.unit.dp.convolution import exact_delta

DELTA = 1e-5


def test_composition_of_different_sigmas_costs_more_than_each_and_less_than_their_sum():
    first, second = pld_epsilon([(5.0, 3)], DELTA), pld_epsilon([(9.0, 10)], DELTA)
    both = pld_epsilon([(5.0, 3), (9.0, 10)], DELTA)
    assert max(first, second) < both < first + second
    assert pld_epsilon([(9.0, 4), (5.0, 3), (9.0, 6)], DELTA) == both
    assert pld_epsilon([], DELTA) == pld_epsilon([(5.0, 0)], DELTA) == 0.0


def test_a_vast_overspend_still_gets_a_finite_bound():
    assert 500 < pld_epsilon([(1.0, 1000)], DELTA) < pld_epsilon([(1.0, 1000), (4.0, 3)], DELTA) < 700


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 7.0, 300.0])
def test_the_bound_from_zero_concentrated_dp_is_a_bound_and_a_good_one(sigma: float, delta: float):
    for count in (1, 10, 1000, 15_000):
        if (rho := count / (2 * sigma**2)) < 190:
            fine = pld_epsilon([(sigma, count)], delta)
            assert fine <= zcdp_epsilon(rho, delta) <= max(0.05, 1.7 * fine)
    assert zcdp_epsilon(1e4, delta) < 1.2e4  # finite whatever was spent
    assert zcdp_epsilon(1e-20, delta) == 0.0


def test_a_delta_below_the_accountants_resolution_is_refused():
    with pytest.raises(ValueError, match="delta 1e-20 is too small"):
        pld_epsilon([(5.0, 3)], 1e-20)


@settings(max_examples=150, deadline=None)
@given(
    sigma=st.floats(0.2, 40),
    count=st.integers(1, 25),
    exponent=st.integers(2, 10),
)
def test_the_certified_epsilon_is_never_below_the_exact_one_and_hardly_above(sigma: float, count: int, exponent: int):
    assume(count / (2 * sigma**2) < 150)
    delta = 10.0**-exponent
    epsilon = pld_epsilon([(sigma, count)], delta)
    assert exact_delta(sigma, count, epsilon) <= delta * (1 + 1e-4)
    slack = 1e-4 * (epsilon + math.sqrt(count) / sigma)
    assert epsilon <= slack or exact_delta(sigma, count, epsilon - slack) > delta


def test_a_vast_number_of_queries_is_bounded_and_not_planned():
    few, many = pld_epsilon([(1000.0, 90_000)], DELTA), pld_epsilon([(1000.0, 110_000)], DELTA)
    assert few < many == zcdp_epsilon(110_000 / (2 * 1000.0**2), DELTA)
    with pytest.raises(ValueError, match="over 110000 votes is beyond what can be certified: ask for"):
        calibrate(1.0, DELTA, 10, 11_000)


def test_queries_of_very_different_noise_are_accounted_together():
    together = pld_epsilon([(0.5, 2), (9000.0, 500)], DELTA)
    assert pld_epsilon([(0.5, 2)], DELTA) <= together < 1.01 * pld_epsilon([(0.5, 2)], DELTA)


def test_the_import_is_light():
    heavy = "import sys, spti_ray.dp.gate; print([m for m in ('dp_accounting', 'opendp', 'scipy') if m in sys.modules])"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.strip() == "[]"
