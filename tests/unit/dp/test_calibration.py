import math

import numpy as np
import pytest

from spti_ray.dp import calibration
from spti_ray.dp.accounting import pld_epsilon, zcdp_epsilon
from spti_ray.dp.calibration import SIGMA_STEP, analytic_gaussian_sigma, calibrate, plan_at
from tests.unit.dp.convolution import exact_delta

DELTA = 1e-5
GOLDEN = {  # k=1, delta=1e-5, continuous Gaussian: epsilon -> sigma at T = 1, 5, 10, 20
    0.5: (7.032, 15.724, 22.237, 31.447),
    1.0: (3.731, 8.342, 11.797, 16.684),
    2.0: (1.994, 4.458, 6.305, 8.917),
    4.0: (1.081, 2.418, 3.419, 4.835),
    8.0: (0.600, 1.342, 1.898, 2.684),
}


@pytest.mark.parametrize("epsilon", GOLDEN)
def test_the_analytic_sigma_is_the_golden_one(epsilon: float):
    for generations, sigma in zip((1, 5, 10, 20), GOLDEN[epsilon], strict=True):
        assert round(analytic_gaussian_sigma(epsilon, DELTA) * math.sqrt(generations), 3) == sigma


@pytest.mark.parametrize("epsilon", GOLDEN)
@pytest.mark.parametrize(("generations", "lattice"), [(1, 1.02), (10, 1.002)])
def test_calibration_is_never_below_the_analytic_sigma_and_hardly_above(
    epsilon: float, generations: int, lattice: float
):
    plan = calibrate(epsilon, DELTA, 1, generations)
    analytic = analytic_gaussian_sigma(epsilon, DELTA) * math.sqrt(generations)
    assert analytic <= plan.sigma <= lattice * analytic
    assert plan.achieved_epsilon <= epsilon


def test_a_single_query_at_epsilon_1_needs_more_than_the_analytic_sigma():
    assert pld_epsilon([(analytic_gaussian_sigma(1.0, DELTA), 1)], DELTA) == pytest.approx(1.0026, abs=2e-4)
    assert calibrate(1.0, DELTA, 1, 1).sigma > 1.002 * analytic_gaussian_sigma(1.0, DELTA)


def test_achieved_epsilon_is_what_an_independent_composition_gives():
    plan = calibrate(1.0, DELTA, 2, 3, spare_slots=1)
    assert plan.slots == 4
    assert plan.achieved_epsilon == pld_epsilon([(plan.sigma, 5), (plan.sigma, 3)], DELTA)


def test_votes_generations_and_spares_are_paid_for_alike():
    assert (
        calibrate(1.0, DELTA, 2, 4).sigma == calibrate(1.0, DELTA, 1, 8).sigma == calibrate(1.0, DELTA, 2, 3, 1).sigma
    )


def test_replace_one_costs_more_than_add_remove_and_at_most_group_privacy():
    plan = calibrate(2.0, DELTA, 3, 4)
    assert plan.achieved_epsilon < plan.replace_one_epsilon < 2 * plan.epsilon
    assert plan.replace_one_epsilon == pld_epsilon([(plan.sigma, 2 * 3 * 4)], DELTA)


def test_the_attacker_bound_at_epsilon_1_is_the_documented_one():
    assert calibrate(1.0, DELTA, 1, 10).attacker_advantage == pytest.approx(0.107, abs=5e-4)


@pytest.mark.parametrize("epsilon", [1.0, 4.0, 8.0])
def test_the_attacker_bound_holds_for_the_discrete_noise_and_not_only_for_the_continuous(epsilon):
    plan = calibrate(epsilon, DELTA, 1, 1)
    x = np.arange(-200, 201)
    weights = np.exp(-(x**2) / (2 * plan.sigma**2))
    pmf = weights / weights.sum()
    exact = 0.5 * np.abs(pmf[1:] - pmf[:-1]).sum()
    assert (1 - 1e-12) * exact <= plan.attacker_advantage <= exact + 1e-3


@pytest.mark.parametrize(
    ("epsilon", "delta", "generations"),
    [
        (1e-9, 1e-5, 1),
        (1e-9, 1e-300, 9),
        (1e-3, 0.49, 1),
        (1.0, 1e-12, 3),
        (8.0, 1e-20, 2),
        (50.0, 1e-5, 1),
        (100.0, 0.49, 1),
    ],
)
def test_every_plan_certifies_or_fails_in_one_clear_line(epsilon: float, delta: float, generations: int):
    try:
        plan = calibrate(epsilon, delta, 1, generations)
    except ValueError as error:
        assert "certified: ask for" in str(error) and "\n" not in str(error)
    else:
        assert plan.achieved_epsilon <= epsilon
        assert plan.sigma >= analytic_gaussian_sigma(epsilon, delta) * math.sqrt(generations)


@pytest.mark.parametrize(
    "arguments", [(0.0, DELTA, 1, 1), (101.0, DELTA, 1, 1), (1.0, 0.0, 1, 1), (1.0, 0.5, 1, 1), (1.0, DELTA, 0, 1)]
)
def test_settings_out_of_range_are_refused(arguments: tuple[float, float, int, int]):
    with pytest.raises(ValueError, match="must be"):
        calibrate(*arguments)


def test_the_search_finds_the_fewest_steps():
    for fewest in (0, 1, 2, 5, 17, 100, 255):
        assert calibration._fewest_steps(lambda raises, fewest=fewest: raises >= fewest) == fewest
    assert calibration._fewest_steps(lambda _: False) is None


@pytest.mark.parametrize("epsilon", [0.5, 8.0, 50.0])
@pytest.mark.parametrize("count", [5, 40])
def test_calibration_stops_at_the_first_raise_that_could_certify(epsilon: float, count: int):
    plan = calibrate(epsilon, DELTA, 1, count)
    assert exact_delta(plan.sigma, count, epsilon) <= DELTA
    start = analytic_gaussian_sigma(epsilon, DELTA) * math.sqrt(count)
    if plan.sigma > start * SIGMA_STEP:  # two raises less, as one may be the accountant's slack
        assert exact_delta(plan.sigma / SIGMA_STEP**2, count, epsilon) > DELTA


def test_a_plan_beyond_the_accountants_reach_still_gets_true_figures():
    plan = plan_at(0.05, 1.0, DELTA, 1, 10, 0)
    assert plan.achieved_epsilon == zcdp_epsilon(10 / (2 * 0.05**2), DELTA)
    assert plan.attacker_advantage == pytest.approx(1.0)
    many = plan_at(1000.0, 1.0, DELTA, 10, 10_001, 0)
    assert calibrate(1.0, DELTA, 10, 100).attacker_advantage < many.attacker_advantage < math.sqrt(0.06)
