"""Copied records: the chance is exact, a clean set keeps the stated rate, ten copies are found."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import euclidean_distances

from spti_ray.evaluate.copied_records import FALSE_ALARMS, chance, copied_records, critical_number, real_needed

TRIES = 200
IMAGES, VOTED, HELD_OUT, SIZE = 60, 300, 150, 8


def found_in(images, voted, held_out):
    distances = euclidean_distances(images, voted)
    among = euclidean_distances(held_out, voted).min(axis=1)
    return copied_records(distances.min(axis=1), distances.argmin(axis=1), among)


def simulated(rng):
    """SIMULATED features of images that are no copies, of records that voted, and of those held out: all alike."""
    return (rng.normal(size=(n, SIZE)) for n in (IMAGES, VOTED, HELD_OUT))


def test_a_clean_set_keeps_the_stated_rate():
    rng = np.random.default_rng(0)
    alarms = sum(found_in(*simulated(rng)).flagged for _ in range(TRIES))
    # Clopper-Pearson: of 200 tries 17 alarms are the most whose 95 % interval still has the rate of 5 %.
    interval = scipy.stats.binomtest(alarms, TRIES).proportion_ci(0.95, "exact")
    assert interval.low <= FALSE_ALARMS, f"{alarms} alarms in {TRIES} tries: {interval}"


def test_without_a_calibration_that_test_would_fail():
    """The nearest image of all is nearer than the nearest held-out record in a third of the tries."""
    rng = np.random.default_rng(0)
    naive = sum(found_in(*simulated(rng)).rules[0].records > 0 for _ in range(TRIES))
    assert scipy.stats.binomtest(naive, TRIES).proportion_ci(0.95, "exact").low > FALSE_ALARMS


def test_images_far_from_all_records_raise_no_alarm():
    rng = np.random.default_rng(1)
    for _ in range(20):
        images, voted, held_out = simulated(rng)
        assert not found_in(images + 5, voted, held_out).flagged


def test_ten_memorised_records_are_found_each_time():
    rng = np.random.default_rng(2)
    for _ in range(20):
        images, voted, held_out = simulated(rng)
        images[:10] = voted[:10] + rng.normal(size=(10, SIZE)) * 0.01
        found = found_in(images, voted, held_out)
        assert found.flagged and found.p_value <= FALSE_ALARMS and found.near_N[:10].all()


def test_the_lower_bound_is_seldom_above_the_truth():
    """SIMULATED: with 6 copies among images like the records, more than 6 are claimed as seldom as stated."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(TRIES):
        images, voted, held_out = simulated(rng)
        images[:6] = voted[:6]
        wrong += found_in(images, voted, held_out).at_least > 6
    assert scipy.stats.binomtest(wrong, TRIES).proportion_ci(0.95, "exact").low <= FALSE_ALARMS


def test_many_images_of_one_record_are_one_record():
    rng = np.random.default_rng(4)
    images, voted, held_out = simulated(rng)
    images[:] = voted[0]
    found = found_in(images, voted, held_out)
    assert [rule.records for rule in found.rules] == [1, *[1] * (len(found.rules) - 1)] and not found.flagged


@pytest.mark.parametrize(("images", "real", "rank"), [(4, 3, 1), (5, 4, 2), (3, 5, 3)])
def test_the_chance_is_a_share_of_all_orders(images, real, rank):
    orders = list(combinations(range(images + real), real))  # places of the real ones
    for records in range(images + 2):
        before = [order[rank - 1] - (rank - 1) for order in orders]  # images nearer than the real one of that rank
        share = sum(number >= records for number in before) / comb(images + real, real)
        assert chance(images, real, rank, records) == pytest.approx(share)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 5))
@settings(max_examples=40)
def test_the_critical_number_is_the_smallest_that_chance_seldom_gives(images, real, rank):
    critical = critical_number(images, real, min(rank, real), 0.025)
    if critical <= images:
        assert chance(images, real, min(rank, real), critical) <= 0.025
    if critical > 1:
        assert chance(images, real, min(rank, real), critical - 1) > 0.025


def test_what_is_needed_is_enough_and_one_less_is_not():
    for images, records in ((100, 10), (1000, 10), (20, 1)):
        needed = real_needed(images, records)
        assert critical_number(images, needed) <= records < critical_number(images, needed - 1)
    with pytest.raises(ValueError, match="records must be in"):
        real_needed(5, 6)


def test_a_real_record_at_the_same_distance_counts_first():
    found = copied_records(np.zeros(50), np.arange(50), np.zeros(20))
    assert [rule.records for rule in found.rules] == [0] and not found.flagged and found.p_value == 1
