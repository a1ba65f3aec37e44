"""The membership test: exact level, known areas, the bound that differential privacy sets."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from spti_ray.evaluate import membership as module
from spti_ray.evaluate.membership import held_out_needed, membership, most_true_positives, nearest_of_unit


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "PERMUTATIONS", 199)


def test_the_level_is_exact_where_nothing_tells_the_parts_apart():
    """SIMULATED distances, 400 tries: p-values of 0.05 and less are as frequent as they say."""
    rng = np.random.default_rng(0)
    tries = [membership(rng.exponential(size=150), rng.exponential(size=99), i) for i in range(400)]
    for level in (0.05, 0.2):
        hits = sum(found.p_value <= level for found in tries)
        assert scipy.stats.binomtest(hits, len(tries), level).pvalue > 0.01
    covered = sum(found.low <= 0.5 <= found.high for found in tries)
    assert scipy.stats.binomtest(covered, 400).proportion_ci(0.99).high > 0.93


def test_the_false_positive_rate_is_what_is_stated(monkeypatch):
    """SIMULATED: a unit that did not vote passes the limit as seldom as stated."""
    monkeypatch.setattr(module, "PERMUTATIONS", 1)
    rng = np.random.default_rng(1)
    found = [membership(rng.exponential(size=1), rng.exponential(size=199), i) for i in range(800)]
    assert {f.fpr for f in found} == {0.01}
    passed = sum(f.tpr > 0 for f in found)
    low = scipy.stats.binomtest(passed, len(found)).proportion_ci(0.99, "exact").low
    assert passed and low <= 0.01


def test_units_that_are_nearer_are_found():
    rng = np.random.default_rng(2)
    found = membership(rng.exponential(size=300) * 0.3, rng.exponential(size=200), 0)
    assert found.low > 0.6 and found.p_value == 1 / 200 and found.tpr_low <= found.tpr <= found.tpr_high
    farther = membership(rng.exponential(size=300) * 3, rng.exponential(size=200), 0)
    assert farther.auc < 0.4 and farther.p_value > 0.9, "the test has one side"


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=25)
def test_the_area_is_that_of_the_library_and_ranks_alone_count(seed, ties):
    rng = np.random.default_rng(seed)
    voted, held_out = rng.exponential(size=30), rng.exponential(size=99)
    if ties:
        voted, held_out = np.round(voted, 1), np.round(held_out, 1)
    found = membership(voted, held_out, 0)
    labels = np.r_[np.ones(30), np.zeros(99)]
    assert found.auc == pytest.approx(roc_auc_score(labels, -np.r_[voted, held_out]))
    again = membership(voted * 7 + 1, held_out * 7 + 1, 0)
    assert again.model_dump() == pytest.approx(found.model_dump())
    assert 0 <= found.low <= found.auc <= found.high <= 1


def test_equal_distances_tell_nothing_apart():
    found = membership(np.ones(30), np.ones(99), 0)
    assert (found.auc, found.p_value, found.tpr) == (0.5, 1.0, 0.0)


def test_a_group_is_as_near_as_its_nearest_record():
    distances, groups = np.array([3.0, 1.0, 5.0, 2.0]), np.array([7, 7, 2, 9])
    assert nearest_of_unit(distances, groups).tolist() == [5.0, 1.0, 2.0]


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.5, 1)])
def test_fewer_held_out_units_than_the_rate_needs_are_refused(rate, needed):
    assert held_out_needed(rate) == needed
    assert membership(np.ones(3), np.ones(needed), 0, rate).fpr == pytest.approx(rate)
    with pytest.raises(ValueError, match="too few"):
        membership(np.ones(3), np.ones(needed - 1), 0, rate)


@given(st.floats(0, 5), st.floats(0, 0.1), st.floats(0, 1))
@settings(max_examples=50)
def test_the_bound_is_that_of_differential_privacy(epsilon, delta, fpr):
    bound = most_true_positives(fpr, epsilon, delta)
    assert min(fpr, 1) <= bound + 1e-12 and bound <= min(1, np.exp(epsilon) * fpr + delta)
    assert bound <= most_true_positives(fpr, epsilon + 0.1, delta) + 1e-12
    assert most_true_positives(fpr, 0, 0) == pytest.approx(fpr)
