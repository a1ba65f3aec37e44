"""Audit 1 for `spti measure`: one unit more or less changes one cell by 1, one that is replaced two cells at most.

The units are those of votes, with all that breaks careless code. The same check must catch counts with a planted fault.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.private.answers import cast_answers
from spti_ray.private.views import NO_GROUP, NO_LABEL, quantise
from spti_ray.probe import Probe
from tests.statistical.neighbours import LABELS, WIDTH, check_change, is_caught, queries, take, units, without

NUMBER = st.sampled_from([-1.0, 0.0, 0.0, 0.5, 1.0])


@st.composite
def probes(draw):
    """A classifier, or one with many answers that are right for some labels."""
    num = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(NUMBER, min_size=WIDTH, max_size=WIDTH), min_size=num, max_size=num))
    weights_AE = np.array(rows) + np.eye(num, WIDTH) * 1e-3
    offsets_A = np.array(draw(st.lists(NUMBER, min_size=num, max_size=num)))
    right = draw(
        st.lists(st.lists(st.booleans(), min_size=len(LABELS), max_size=len(LABELS)), min_size=num, max_size=num)
    )
    return Probe.rounded(weights_AE, offsets_A, np.array(right), LABELS, draw(st.booleans()))


def records():
    return queries().map(lambda query: query[0])


def check_answers(cast, views, probe) -> None:
    """Remove each unit in turn, and put another into its place."""
    counts = cast(views, probe)
    for unit in units(views):
        change = check_change(counts, cast(without(views, unit), probe), 1)
        np.testing.assert_array_equal(change, cast(take(views, unit), probe))
    assert 0 <= counts.sum() <= views.num_units
    first, *others = units(views)
    for other in others:  # both sets have all but one of the two
        moved = cast(without(views, first), probe) - cast(without(views, other), probe)
        assert np.abs(moved).sum() <= 2 and np.abs(moved).max(initial=0) <= 1


@settings(max_examples=200, deadline=None)
@given(records(), probes())
def test_one_unit_more_or_less_changes_one_cell_by_one_and_a_replaced_one_two(views, probe):
    check_answers(cast_answers, views, probe)


@settings(max_examples=100, deadline=None)
@given(records(), probes())
def test_a_unit_that_can_vote_fills_exactly_one_cell_of_its_label(views, probe):
    for unit in units(views):
        alone = take(views, unit)
        able = alone.usable_P["image"] & (alone.labels_P != NO_LABEL)
        if alone.groups_P is not None:
            able &= alone.groups_P != NO_GROUP
        counts = cast_answers(alone, probe)
        assert counts.sum() == int(able.any())
        if able.any() and probe.by_class:
            label = int(alone.labels_P[np.flatnonzero(able)[0]])
            assert counts[2 * label : 2 * label + 2].sum() == 1


@settings(max_examples=60, deadline=None)
@given(records(), probes(), st.randoms(use_true_random=False), st.sampled_from([1, 100, 2**20]))
def test_order_sharding_and_blocks_do_not_change_the_sum(views, probe, random, block_bytes):
    parts = units(views)
    random.shuffle(parts)
    shards = [[], [], []]
    for part in parts:
        shards[random.randrange(3)].extend(part)
    total = sum(cast_answers(take(views, rows), probe, block_bytes) for rows in shards)
    np.testing.assert_array_equal(total, cast_answers(views, probe))


def every_record_of_a_group_fills_a_cell(views, probe):
    return cast_answers(replace(views, groups_P=None), probe)


def centred_by_the_data_set(views, probe):
    if not len(views.labels_P):
        return cast_answers(views, probe)
    rows = views.vectors_PE["image"][np.arange(len(views.labels_P))].astype(np.float32)
    return cast_answers(replace(views, vectors_PE={"image": quantise(rows - rows.mean(axis=0))}), probe)


def the_rest_is_wrong_up_to_ten(views, probe):
    """Hides how many there are, and is no count any more."""
    counts = cast_answers(views, probe)
    counts[1] += max(0, 10 - counts.sum())
    return counts


def nothing_is_told_of_few(views, probe):
    counts = cast_answers(views, probe)
    return counts * (counts.sum() > 3)


@pytest.mark.parametrize(
    "fault",
    [
        every_record_of_a_group_fills_a_cell,
        centred_by_the_data_set,
        the_rest_is_wrong_up_to_ten,
        nothing_is_told_of_few,
    ],
)
def test_answers_with_a_planted_fault_are_caught_by_the_same_check(fault):
    assert is_caught(lambda views, probe: check_answers(fault, views, probe), records(), probes())
