"""Audit 1 of the privacy contract: adding or removing one unit changes at most k counts, each by 1.

Property-based, with what breaks careless code: exact ties, duplicates, NaN, records and candidates without label,
k at the number of candidates, joint voting, groups, any order, any sharding, any block size. The same check must catch
votes with a planted fault. `test_sensitivity_of_shards` goes on from the file to the gate's sum.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.config import EvolutionConfig
from spti_ray.private.products import NumpyProcessor
from spti_ray.private.views import NO_GROUP, NO_LABEL, quantise, usable_rows
from spti_ray.private.voting import cast_votes
from spti_ray.public.label_shares import all_votable, label_candidates
from spti_ray.public.themes import question_of
from spti_ray.types import Candidate, Candidates, ScoredCandidates
from tests.statistical.neighbours import (
    LABELS,
    WIDTH,
    check_change,
    check_sensitivity,
    in_order,
    is_caught,
    queries,
    take,
    units,
    without,
)


@settings(max_examples=300, deadline=None)
@given(queries())
def test_removing_one_unit_changes_at_most_k_counts_by_one(query):
    check_sensitivity(cast_votes, *query)


def about_themes(scored, seed=0):
    """The question about the candidates' themes, two of each label."""
    labels = [{"name": name} for name in sorted(set(scored.candidates.labels))]
    settings = {"generations": 1, "candidates": 99, "labels": labels, "themes": [2 * len(labels)]}
    return question_of(0, scored, EvolutionConfig.model_validate(settings), seed)


@settings(max_examples=300, deadline=None)
@given(queries().filter(lambda query: has_an_embedding(query[1])))
def test_removing_one_unit_changes_at_most_k_themes_by_one(query):
    views, scored, k = query
    check_sensitivity(cast_votes, views, about_themes(scored).asked, k)


def votes_added_up_by_theme(views, scored, k):
    """Not a question about themes: a record would give all its votes to one."""
    question = about_themes(scored)
    counts = dict(zip([candidate.id for candidate in scored.candidates], cast_votes(views, scored, k), strict=True))
    return np.array([sum(counts[member] for member in theme.members) for theme in question.themes])


def about_labels(scored):
    """The question that `evolution.label_shares: voted` asks: one candidate for each label, one of them unrendered."""
    settings = {"generations": 2, "candidates": 99, "labels": list(LABELS), "label_shares": "voted"}
    asked = Candidates(tuple(label_candidates(EvolutionConfig.model_validate(settings))))
    rows = np.array([[0.6, 0.8, 0.0], [np.nan] * WIDTH], np.float32)
    return all_votable(ScoredCandidates(asked, dict.fromkeys(scored.embeddings_KE, rows), scored.weights))


def check_label_counts(cast, views, scored, k):
    """However many votes are paid for, a unit has one: that of its label."""
    asked = about_labels(scored)
    check_sensitivity(cast, views, asked, k)
    for unit in units(views):
        check_change(cast(views, asked, k), cast(without(views, unit), asked, k), 1)


@settings(max_examples=300, deadline=None)
@given(queries())
def test_removing_one_unit_changes_the_count_of_one_label_by_one(query):
    check_label_counts(cast_votes, *query)


@settings(max_examples=300, deadline=None)
@given(queries())
def test_a_unit_votes_for_the_label_of_its_first_usable_record(query):
    views, scored, k = query
    usable_P = np.logical_and.reduce([usable_rows(rows) for rows in views.vectors_PE.values()])
    usable_P &= views.labels_P != NO_LABEL
    for unit in units(views):
        able = [row for row in unit if usable_P[row] and (views.groups_P is None or views.groups_P[row] != NO_GROUP)]
        votes = cast_votes(take(views, unit), about_labels(scored), k)
        assert votes.tolist() == [int(bool(able) and views.labels_P[able[0]] == code) for code in range(len(LABELS))]


def every_record_counts_for_its_label(views, scored, k):
    """Not a vote: a group would count as often as it has records."""
    return np.bincount(views.labels_P[views.labels_P != NO_LABEL], minlength=len(LABELS)).astype(np.int64)


def every_label_of_a_group_counts(views, scored, k):
    """Not a vote: a group would count for each label that its records have."""
    groups = np.arange(len(views.labels_P)) if views.groups_P is None else views.groups_P
    rows = zip(groups.tolist(), views.labels_P.tolist(), strict=True)
    pairs = {(group, label) for group, label in rows if label != NO_LABEL and group != NO_GROUP}
    return np.bincount([label for _, label in pairs], minlength=len(LABELS)).astype(np.int64)


@pytest.mark.parametrize("fault", [every_record_counts_for_its_label, every_label_of_a_group_counts])
def test_labels_that_are_counted_in_place_of_votes_are_caught(fault):
    assert is_caught(lambda query: check_label_counts(fault, *query), queries())


def has_an_embedding(scored):
    return np.logical_and.reduce([np.isfinite(rows).all(axis=1) for rows in scored.embeddings_KE.values()]).any()


def test_votes_on_candidates_that_are_added_up_by_theme_are_caught():
    asked = queries().filter(lambda query: has_an_embedding(query[1]))
    assert is_caught(lambda query: check_sensitivity(votes_added_up_by_theme, *query), asked)


def whitened_by_the_data_set(views, scored, k):
    if not len(views.labels_P):
        return cast_votes(views, scored, k)
    centred = {space: quantise(matrix - matrix.mean(axis=0)) for space, matrix in views.vectors_PE.items()}
    return cast_votes(replace(views, vectors_PE=centred), scored, k)


def one_vote_too_many(views, scored, k):
    return cast_votes(views, scored, k + 1)


def group_votes_once_per_record(views, scored, k):
    return cast_votes(replace(views, groups_P=None), scored, k)


def ties_by_position_in_the_data_set(views, scored, k):
    num = len(scored.candidates)
    parts = [in_order(take(views, unit), scored, k, np.roll(np.arange(num), i)) for i, unit in enumerate(units(views))]
    return sum(parts, np.zeros(num, dtype=np.int64))


def ties_by_a_hash_of_all_records(views, scored, k):
    order = np.roll(np.arange(len(scored.candidates)), int(sum(m.sum() for m in views.vectors_PE.values())))
    return in_order(views, scored, k, order)


def one_bad_record_silences_its_shard(views, scored, k):
    usable = all(usable_rows(m).all() for m in views.vectors_PE.values())
    return cast_votes(views, scored, k) * usable


def only_the_first_five_records(views, scored, k):
    return cast_votes(take(views, range(min(5, len(views.labels_P)))), scored, k)


def counts_scaled_to_the_data_set(views, scored, k):
    counts_K = cast_votes(views, scored, k)
    return 12 * counts_K // max(1, counts_K.sum())


def records_without_group_vote(views, scored, k):
    if views.groups_P is None:
        return cast_votes(views, scored, k)
    loners = 100 + np.arange(len(views.groups_P))
    return cast_votes(replace(views, groups_P=np.where(views.groups_P == NO_GROUP, loners, views.groups_P)), scored, k)


@pytest.mark.parametrize(
    "fault",
    [
        whitened_by_the_data_set,
        one_vote_too_many,
        group_votes_once_per_record,
        ties_by_position_in_the_data_set,
        ties_by_a_hash_of_all_records,
        one_bad_record_silences_its_shard,
        only_the_first_five_records,
        counts_scaled_to_the_data_set,
        records_without_group_vote,
    ],
)
def test_votes_with_a_planted_fault_are_caught_by_the_same_check(fault):
    assert is_caught(lambda query: check_sensitivity(fault, *query), queries())


@settings(max_examples=150, deadline=None)
@given(queries(), st.randoms(use_true_random=False), st.integers(1, 5), st.sampled_from([1, 200, 2**20]))
def test_order_sharding_and_blocks_do_not_change_the_sum(query, random, num_shards, block_bytes):
    views, scored, k = query
    counts = cast_votes(views, scored, k)
    parts = units(views)
    random.shuffle(parts)
    shards = [[] for _ in range(num_shards)]
    for part in parts:
        shards[random.randrange(num_shards)].extend(part)
    total = sum(cast_votes(take(views, rows), scored, k, NumpyProcessor(block_bytes)) for rows in shards)
    np.testing.assert_array_equal(total, counts)


@settings(max_examples=150, deadline=None)
@given(queries())
def test_a_usable_unit_casts_exactly_k_votes_or_all_there_are(query):
    views, scored, k = query
    for unit in units(views):
        votes = cast_votes(take(views, unit), scored, k)
        winners = {scored.candidates.labels[i] for i in np.flatnonzero(votes)}
        assert len(winners) <= 1
        if winners:
            (label,) = winners
            usable = np.logical_and.reduce(
                [np.isfinite(m).all(1) & (m != 0).any(1) for m in scored.embeddings_KE.values()]
            )
            there = sum(name == label and ok for name, ok in zip(scored.candidates.labels, usable, strict=True))
            assert votes.sum() == min(k, there)


@settings(max_examples=150, deadline=None)
@given(queries())
def test_ties_go_to_the_lowest_id(query):
    """A copy of a candidate put behind all others takes no vote from its original, unless both get one."""
    views, scored, k = query
    items = scored.candidates.items
    copy = Candidate("g99-00000", "t", items[0].label, 0)
    wider = ScoredCandidates(
        Candidates((*items, copy)),
        {space: np.concatenate([m, m[:1]]) for space, m in scored.embeddings_KE.items()},
        scored.weights,
    )
    for unit in units(views):
        before, after = cast_votes(take(views, unit), scored, k), cast_votes(take(views, unit), wider, k)
        assert after[-1] <= after[0] and after[0] == before[0]
