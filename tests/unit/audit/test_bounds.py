import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from spti_ray.audit.bounds import best_accuracy, mu_from_many_runs, mu_from_one_run

# (canaries, guesses, correct, 1 - confidence, mu), from jax-privacy 2.0.0, `auditing._epsilon_one_run_fdp` at delta
# 1e-5, its epsilon turned into mu by dp_accounting.get_sigma_gaussian. Its epsilon is good to 1e-6.
GOLDEN = [
    (50_000, 2_000, 1_312, 0.05, 0.187098),
    (50_000, 2_000, 1_454, 0.05, 0.286999),
    (50_000, 2_000, 1_582, 0.05, 0.388664),
    (50_000, 4_000, 2_812, 0.2, 0.311464),
    (50_000, 20_000, 16_500, 1e-6, 0.292461),
    (20_000, 20_000, 19_000, 0.05, 1.137441),
    (1_000, 1_000, 700, 0.05, 0.357211),
    (1_000, 100, 95, 1e-4, 0.439909),
    (1_000, 100, 100, 1e-6, 0.503653),
    (200, 60, 40, 0.1, 0.145399),
]


@pytest.mark.parametrize(("canaries", "guesses", "correct", "tail", "mu"), GOLDEN)
def test_the_one_run_bound_is_that_of_an_independent_implementation(canaries, guesses, correct, tail, mu):
    bound = mu_from_one_run(canaries, guesses, correct, 1 - tail)
    assert mu - 3e-5 < bound <= mu + 1e-6  # rounded down


def gaussian_attack(rng, mu: float, runs: int, canaries: int, guesses: int) -> list[int]:
    """Correct guesses of the best attacker on independent Gaussian noise, per run."""
    coins = rng.random((runs, canaries)) < 0.5
    order = np.argsort(coins * mu + rng.standard_normal((runs, canaries)), axis=1)
    coins = np.take_along_axis(coins, order, axis=1)
    half = guesses // 2
    return ((~coins[:, :half]).sum(1) + coins[:, -half:].sum(1)).tolist()


@pytest.mark.parametrize("mu", [0.1, 0.268, 1.0, 3.0])
def test_one_run_refutes_the_true_mu_of_gaussian_noise_no_more_often_than_promised(mu):
    simulated = gaussian_attack(np.random.default_rng(1), mu, 200, 500, 60)
    assert sum(mu_from_one_run(500, 60, correct, 0.95) >= mu for correct in simulated) <= 10
    assert sum(mu_from_one_run(500, 60, correct, 0.9999) >= mu for correct in simulated) == 0


@pytest.mark.parametrize("mu", [0.1, 0.268, 1.0, 3.0])
def test_many_runs_refute_the_true_mu_of_gaussian_noise_no_more_often_than_promised(mu):
    rng = np.random.default_rng(2)
    bounds = [mu_from_many_runs(100, 40, gaussian_attack(rng, mu, 50, 100, 40), 0.9) for _ in range(200)]
    assert sum(bound >= mu for bound in bounds) <= 20
    assert np.mean(bounds) > 0.5 * mu or mu < 0.268  # and they do refute much smaller ones


def test_many_runs_hold_for_a_mechanism_that_changes_with_what_it_has_seen():
    """Later runs may depend on earlier ones: here, more noise after every run in which the attacker was lucky."""
    rng = np.random.default_rng(3)
    refuted = 0
    for _ in range(200):
        correct, mu = [], 0.5
        for _ in range(30):
            correct += gaussian_attack(rng, mu, 1, 50, 20)
            mu = 0.5 if correct[-1] <= 12 else 0.1
        refuted += mu_from_many_runs(50, 20, correct, 0.9) >= 0.5
    assert refuted <= 20


@pytest.mark.parametrize("mu", [0.05, 0.268, 1.0, 4.0])
@pytest.mark.parametrize("guesses", [20, 400, 1_000])
def test_gaussian_noise_reaches_the_best_accuracy_and_does_not_pass_it(mu, guesses):
    correct = gaussian_attack(np.random.default_rng(4), mu, 400, 1_000, guesses)
    best = best_accuracy(mu, 1_000, guesses)
    error = 5 * np.sqrt(best * (1 - best) / (400 * guesses))
    # He says "in" as often as "out", which costs a little: 1,000 coins are not 500 and 500.
    assert -0.3 / np.sqrt(1_000) - error < np.mean(correct) / guesses - best < error


def test_without_abstention_the_best_accuracy_has_a_closed_form():
    for mu in (0.0, 0.268, 1.0, 5.0):
        assert best_accuracy(mu, 10, 10) == pytest.approx(float(ndtr(mu / 2)), abs=1e-12)


def test_the_bound_of_many_runs_is_the_mu_whose_best_accuracy_was_seen():
    """With 100,000 equal runs the confidence costs nearly nothing."""
    bound = mu_from_many_runs(1_000, 100, [70] * 100_000, 0.99)
    assert best_accuracy(bound, 1_000, 100) == pytest.approx(0.7, abs=1e-4)


@given(st.integers(2, 60), st.data())
def test_bounds_rise_with_correct_guesses_and_fall_with_confidence(guesses, data):
    canaries = data.draw(st.integers(guesses, 200))
    fewer = data.draw(st.integers(0, guesses - 1))
    low, high = sorted((data.draw(st.floats(0.01, 0.99)), data.draw(st.floats(0.01, 0.99))))
    for bound in (mu_from_one_run, lambda m, c, n, confidence: mu_from_many_runs(m, c, [n] * 20, confidence)):
        at_fewer = bound(canaries, guesses, fewer, low)
        assert 0 <= at_fewer <= bound(canaries, guesses, fewer + 1, low)
        assert bound(canaries, guesses, fewer, high) <= at_fewer
        if 2 * fewer <= guesses:
            assert at_fewer == 0  # no better than a coin


def test_no_noise_at_all_gives_finite_bounds():
    assert 1 < mu_from_one_run(50_000, 50_000, 50_000, 0.95) < 10
    assert 1 < mu_from_many_runs(100, 40, [40] * 100, 0.95) < 10


@pytest.mark.parametrize(
    "wrong", [(10, 11, 5, 0.9), (10, 0, 0, 0.9), (10, 5, 6, 0.9), (10, 5, -1, 0.9), (10, 5, 5, 1.0), (10, 5, 5, 0.0)]
)
def test_numbers_that_do_not_fit_are_refused(wrong):
    canaries, guesses, correct, confidence = wrong
    with pytest.raises(ValueError, match="must be"):
        mu_from_one_run(canaries, guesses, correct, confidence)
    with pytest.raises(ValueError, match="must be"):
        mu_from_many_runs(canaries, guesses, [correct], confidence)
