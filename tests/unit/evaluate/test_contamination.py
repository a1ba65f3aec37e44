"""What a contamination audit makes of features: SIMULATED, with and without records that a renderer memorised."""

import numpy as np
import pytest
import scipy.stats

from spti_ray.evaluate import membership
from spti_ray.evaluate.contamination import Parts, compare
from spti_ray.evaluate.copied_records import FALSE_ALARMS
from spti_ray.evaluate.reference import EvaluationFailed, Reference

SIZE, IMAGES, VOTED, HELD_OUT = 8, 50, 300, 120


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(membership, "PERMUTATIONS", 19)


def records(features, groups=None):
    groups = np.arange(len(features)) if groups is None else groups
    return Reference(features, None, groups, 0, {}, indexes_P=np.arange(len(features)) + 1000)


def parts_of(rng, **more):
    voted, held_out = rng.normal(size=(VOTED, SIZE)), rng.normal(size=(HELD_OUT, SIZE))
    return Parts(records(voted), records(held_out), **{"other_data": False} | more)


def compared(images, parts, kind="release", guarantee=(1.0, 1e-5)):
    return compare(images, parts, kind, judge={"model": "m"}, independent=True, guarantee=guarantee, seed=0)


def test_clean_images_are_flagged_as_seldom_as_stated_in_either_direction():
    """40 tries, with Clopper-Pearson; `test_copied_records` has 200 of the count alone."""
    rng = np.random.default_rng(0)
    alarms = np.zeros(2, int)
    for _ in range(40):
        found = compared(rng.normal(size=(IMAGES, SIZE)), parts_of(rng)).figures
        alarms += [copies.flagged for copies in found.copies]
    for number in alarms.tolist():
        interval = scipy.stats.binomtest(number, 40).proportion_ci(0.95, "exact")
        assert interval.low <= FALSE_ALARMS, f"{number} alarms in 40 tries: {interval}"


def test_ten_memorised_records_are_flagged_and_shown_with_their_records():
    rng = np.random.default_rng(1)
    parts = parts_of(rng)
    images = rng.normal(size=(IMAGES, SIZE)) * 2
    images[20:30] = parts.voted.features_PE[100:110] + 1e-3
    found = compared(images, parts)
    voted, held_out = found.figures.copies
    assert voted.flagged and 1 <= voted.at_least <= 10 and not held_out.flagged
    assert {(near.image, near.record) for near in found.near_voted[:10]} == {(20 + i, 100 + i) for i in range(10)}
    assert all(near.copied and near.real_nearer == 0 for near in found.near_voted[:10])
    assert not any(near.copied for near in found.near_held_out)
    assert [near.distance for near in found.near_voted] == sorted(near.distance for near in found.near_voted)


def test_records_that_never_voted_are_found_by_fewer_copies():
    rng = np.random.default_rng(2)
    parts = parts_of(rng)
    images = rng.normal(size=(IMAGES, SIZE)) * 2
    images[:2] = parts.held_out.features_PE[:2]
    voted, held_out = compared(images, parts).figures.copies
    assert held_out.flagged and not voted.flagged and held_out.needed == 2 < voted.needed


def test_images_drawn_towards_records_that_voted_show_in_the_membership_test_and_epsilon_bounds_it():
    rng = np.random.default_rng(3)
    parts = parts_of(rng)
    images = parts.voted.features_PE[: VOTED // 2] + rng.normal(size=(VOTED // 2, SIZE)) * 0.3
    found = compared(images, parts).figures.membership
    assert found.low > 0.5 and found.p_value == 1 / 20
    assert found.most_auc == pytest.approx(1 - np.exp(-1) * (0.5 - 1e-5))
    assert found.most_tpr == pytest.approx(np.e * found.fpr + 1e-5)
    other = compared(images, parts_of(np.random.default_rng(3), other_data=True)).figures.membership
    assert other.most_auc is None and other.shows != found.shows


def test_units_are_groups_where_records_have_them():
    rng = np.random.default_rng(4)
    voted, held_out = rng.normal(size=(VOTED, SIZE)), rng.normal(size=(2 * HELD_OUT, SIZE))
    parts = Parts(
        records(voted, np.arange(VOTED) // 30), records(held_out, np.arange(2 * HELD_OUT) // 2), other_data=False
    )
    assert (len(parts.to_voted_U), len(parts.to_held_out_U)) == (HELD_OUT, VOTED // 30)
    images = rng.normal(size=(IMAGES, SIZE)) * 3
    images[:20] = voted[:20]  # all of one group
    copies = compared(images, parts).figures.copies[0]
    assert copies.rules[0].records == 1 and not copies.flagged


@pytest.mark.parametrize(("groups", "words"), [(None, "99 usable records"), (np.arange(196) // 2, "99 usable groups")])
def test_too_few_units_that_never_voted_are_refused_with_how_many_it_takes(groups, words):
    rng = np.random.default_rng(5)
    few = rng.normal(size=(98 if groups is None else 196, SIZE))
    with pytest.raises(EvaluationFailed, match=f"needs at least {words} that never voted") as caught:
        Parts(records(rng.normal(size=(VOTED, SIZE))), records(few, groups), other_data=False)
    assert "98" not in str(caught.value)


def test_records_that_are_in_both_parts_are_counted():
    rng = np.random.default_rng(6)
    voted, held_out = rng.normal(size=(VOTED, SIZE)), rng.normal(size=(HELD_OUT, SIZE))
    held_out[:4] = voted[:4]
    assert Parts(records(voted), records(held_out), other_data=True).num_same == 4
