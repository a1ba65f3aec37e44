import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.dp.accounting import pld_epsilon, zcdp_epsilon
from spti_ray.dp.calibration import NoisePlan, analytic_gaussian_sigma, calibrate
from spti_ray.dp.lifetime import Affordable, largest_that_fits, lifetime_epsilon

DELTA = 1e-5
SIGMAS = st.sampled_from([0.4, 0.7, 1.5, 4.0, 11.797, 37.0, 160.0]) | st.floats(0.3, 200)
TERMS = st.lists(st.tuples(SIGMAS, st.integers(0, 40)), max_size=5)
DELTAS = st.sampled_from([1e-2, 1e-5, 1e-9])


@settings(max_examples=100)
@given(terms=TERMS, more=TERMS, delta=DELTAS)
def test_more_queries_never_lower_the_figure(
    terms: list[tuple[float, int]], more: list[tuple[float, int]], delta: float
):
    before, after = lifetime_epsilon(terms, delta), lifetime_epsilon(terms + more, delta)
    assert before <= after * (1 + 1e-9) and math.isfinite(after)


@settings(max_examples=60)
@given(terms=TERMS, delta=DELTAS)
def test_the_figure_is_at_least_that_of_noise_fixed_in_advance(terms: list[tuple[float, int]], delta: float):
    assert lifetime_epsilon(terms, delta) >= pld_epsilon(terms, delta) * (1 - 1e-9)


@settings(max_examples=60)
@given(terms=TERMS, data=st.data())
def test_neither_order_nor_splitting_of_the_terms_matters(terms: list[tuple[float, int]], data: st.DataObject):
    split = [(sigma, part) for sigma, count in terms for part in (count // 2, count - count // 2)]
    assert lifetime_epsilon(data.draw(st.permutations(split)), DELTA) == lifetime_epsilon(terms, DELTA)


def test_one_noise_scale_is_accounted_exactly_and_several_by_the_sum_of_their_zcdp():
    assert lifetime_epsilon([], DELTA) == lifetime_epsilon([(4.0, 0)], DELTA) == 0.0
    assert lifetime_epsilon([(4.0, 3), (4.0, 7), (9.0, 0)], DELTA) == pld_epsilon([(4.0, 10)], DELTA)
    rho = 10 / (2 * 4.0**2) + 3 / (2 * 9.0**2)
    assert lifetime_epsilon([(4.0, 10), (9.0, 3)], DELTA) == zcdp_epsilon(rho, DELTA)


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 8.0, 60.0, 300.0])
def test_the_price_of_free_choice_is_moderate(epsilon: float):
    sigma = 50.0
    low, high = 1, 10**7
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if zcdp_epsilon(middle / (2 * sigma**2), DELTA) < epsilon else (low, middle)
    spent = [(sigma, low - low // 2), (1.0001 * sigma, low // 2)]
    in_advance = pld_epsilon(spent, DELTA)
    assert in_advance <= lifetime_epsilon(spent, DELTA) <= 1.25 * in_advance


def test_a_delta_below_the_accountants_resolution_is_refused():
    with pytest.raises(ValueError, match="delta 1e-20 is too small"):
        lifetime_epsilon([(5.0, 3), (6.0, 3)], 1e-20)


def fits(
    spent: list[tuple[float, int]], budget: float, plan: NoisePlan, epsilon: float, generations: int | None = None
) -> bool:
    wanted = calibrate(epsilon, plan.delta, plan.votes_per_record, generations or plan.generations, plan.spare_slots)
    return lifetime_epsilon([*spent, (wanted.sigma, wanted.votes_per_record * wanted.slots)], DELTA) <= budget


@settings(max_examples=15)
@given(
    before=st.floats(0.1, 4.0),
    part=st.floats(1.02, 2.0),
    asked=st.sampled_from([0.5, 1.0, 3.3, 8.0]),
    votes=st.integers(1, 2),
    generations=st.integers(1, 8),
    spares=st.integers(0, 2),
)
def test_what_is_offered_fits_and_hardly_more_would(
    before: float, part: float, asked: float, votes: int, generations: int, spares: int
):
    earlier = calibrate(before, DELTA, 1, 5)
    spent = [(earlier.sigma, 5)]
    plan = calibrate(asked, DELTA, votes, generations, spares)
    budget = part * lifetime_epsilon(spent, DELTA)
    offer = largest_that_fits(spent, budget, DELTA, plan)
    if fits(spent, budget, plan, asked):
        assert offer.generations == generations and offer.epsilon is not None and asked >= offer.epsilon >= 0.99 * asked
        return
    if offer.epsilon is None:
        assert not fits(spent, budget, plan, 0.0102)
    else:
        assert offer.epsilon == float(f"{offer.epsilon:.3g}") < asked
        assert fits(spent, budget, plan, offer.epsilon) and not fits(spent, budget, plan, 1.02 * offer.epsilon)
    if offer.generations:
        assert offer.generations_epsilon is not None
        assert fits(spent, budget, plan, offer.generations_epsilon, offer.generations)
        fewer = calibrate(offer.generations_epsilon, DELTA, votes, offer.generations, spares)
        # Calibration starts at the continuous Gaussian's sigma, of which few discrete queries sometimes need less.
        start = analytic_gaussian_sigma(offer.generations_epsilon, DELTA) * math.sqrt(
            fewer.votes_per_record * fewer.slots
        )
        assert 0.95 * plan.sigma < fewer.sigma <= 1.002 * max(plan.sigma, start)
    if offer.generations < generations - 1:
        slots = votes * (offer.generations + 1 + spares)
        assert lifetime_epsilon([*spent, (0.98 * plan.sigma, slots)], DELTA) > budget


def test_fewer_generations_come_with_the_epsilon_to_configure():
    plan = calibrate(2.0, DELTA, 1, 10, 2)
    offer = largest_that_fits([], 1.0, DELTA, plan)
    assert offer == Affordable(epsilon=1.0, generations=1, generations_epsilon=pytest.approx(0.93, abs=0.01))
    assert not fits([], 1.0, plan, 2.0, offer.generations)  # fewer generations alone would only mean less noise


def test_an_exhausted_budget_offers_nothing():
    earlier = calibrate(1.0, DELTA, 1, 10)
    plan = calibrate(1.0, DELTA, 1, 10)
    assert largest_that_fits([(earlier.sigma, 10)], 1.0, DELTA, plan) == Affordable(None, 0, None)


def test_a_run_like_the_earlier_ones_is_offered_where_any_other_noise_would_cost_more():
    earlier = calibrate(1.0, DELTA, 1, 10)
    spent = [(earlier.sigma, 10)] * 3
    budget = 1.01 * pld_epsilon([(earlier.sigma, 40)], DELTA)
    plan = calibrate(2.0, DELTA, 1, 10)
    assert largest_that_fits(spent, budget, DELTA, plan).epsilon == 1.0
    assert not fits(spent, budget, plan, 0.95)
