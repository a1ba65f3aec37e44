import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.dp.subsampled import SgdPlan, calibrate_sgd, sample_rate, sgd_epsilon
from tests.unit.dp.test_calibration import DELTA, GOLDEN


@pytest.mark.parametrize(("epsilon", "steps", "column"), [(1.0, 10, 2), (2.0, 5, 1), (8.0, 20, 3)])
def test_without_sampling_the_noise_is_the_gaussians_golden_one(epsilon, steps, column):
    assert calibrate_sgd(epsilon, DELTA, 1.0, steps).noise_multiplier == pytest.approx(
        GOLDEN[epsilon][column], rel=2e-3
    )


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "epsilon"),
    # Made by Opacus' PRV accountant, an implementation of its own (Gopi et al., arXiv 2106.02848), to 0.001.
    [(1.1, 0.01, 1000, 1.5165), (2.0, 0.25, 60, 4.8902), (6.0, 0.2, 60, 0.9989), (0.7, 0.001, 5000, 0.9813)],
)
def test_epsilon_is_the_golden_one(noise, rate, steps, epsilon):
    assert sgd_epsilon(noise, rate, steps, DELTA) == pytest.approx(epsilon, abs=2e-3)


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.1, 0.01, 1000), (2.0, 0.25, 60), (6.0, 0.2, 60)])
def test_epsilon_agrees_with_opacus_accountants(noise, rate, steps):
    from opacus.accountants import PRVAccountant, RDPAccountant

    found = sgd_epsilon(noise, rate, steps, DELTA)
    prv, rdp = PRVAccountant(), RDPAccountant()
    for accountant in (prv, rdp):
        accountant.history = [(noise, rate, steps)]
    # The PRV estimate has an error of its own, 0.01 by default; Renyi DP is looser, and so bounds from above.
    assert found == pytest.approx(prv.get_epsilon(DELTA), abs=0.012)
    assert found <= rdp.get_epsilon(DELTA)


@settings(max_examples=6, deadline=None)
@given(
    epsilon=st.sampled_from([0.5, 1.0, 4.0]),
    rate=st.sampled_from([0.01, 0.1, 0.5]),
    steps=st.integers(1, 200),
    spare=st.integers(0, 20),
)
def test_calibration_never_rounds_towards_less_privacy(epsilon, rate, steps, spare):
    plan = calibrate_sgd(epsilon, DELTA, rate, steps, spare)
    assert plan.achieved_epsilon == sgd_epsilon(plan.noise_multiplier, rate, steps + spare, DELTA) <= epsilon
    # And wastes little, unless the least noise is more than is asked for.
    if plan.noise_multiplier > 0.3:
        assert sgd_epsilon(0.995 * plan.noise_multiplier, rate, steps + spare, DELTA) > epsilon


def test_spare_steps_are_paid_for_like_any_other():
    assert (
        calibrate_sgd(1.0, DELTA, 0.1, 50, 10).noise_multiplier == calibrate_sgd(1.0, DELTA, 0.1, 60).noise_multiplier
    )


def test_a_large_epsilon_gets_the_least_noise_and_says_what_that_costs():
    plan = calibrate_sgd(100.0, DELTA, 0.01, 3)
    assert plan.noise_multiplier == 0.3
    assert plan.achieved_epsilon < 100


def test_no_noise_protects_nothing_and_no_step_costs_nothing():
    assert sgd_epsilon(0.0, 0.1, 5, DELTA) == math.inf
    assert sgd_epsilon(1.0, 0.1, 0, DELTA) == 0.0


@given(batch=st.floats(1, 1e4), records=st.floats(1, 1e6))
def test_the_rate_is_rounded_down_to_what_a_float32_draw_meets_exactly(batch, records):
    if batch > records:
        with pytest.raises(ValueError, match="sampling rate"):
            sample_rate(batch * 1.001, records)
    elif batch / records >= 2**-24:
        rate = sample_rate(batch, records)
        assert rate <= batch / records < rate + 2**-24
        assert (rate * 2**24).is_integer()


def test_out_of_range_plans_are_refused_in_one_line():
    for wrong in ((0.0, DELTA, 0.1, 5), (1.0, 0.7, 0.1, 5), (1.0, DELTA, 0.1, 0), (1.0, DELTA, 0.1, 10**6)):
        with pytest.raises(ValueError) as error:
            calibrate_sgd(*wrong)
        assert "\n" not in str(error.value)


def test_a_plan_pays_for_steps_and_spares():
    assert SgdPlan(1.0, DELTA, 0.1, 50, 10, 2.0, 0.9).max_steps == 60
