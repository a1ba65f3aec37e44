"""Themes: what is asked in the place of single candidates, and what is made of the answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spti_ray.config import EvolutionConfig
from spti_ray.errors import NothingMade
from spti_ray.public.offspring import survivors_and_children
from spti_ray.public.themes import Theme, by_candidate, clusters, norm_sub, question_of, select_by_theme
from spti_ray.types import Candidate, Candidates, NoisyHistogram, ScoredCandidates

COUNTS = hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(-200, 200))


def _rows(places: np.ndarray, each: int, spread: float = 0.05, seed: int = 0) -> np.ndarray:
    """`each` unit vectors around each place."""
    rows = np.repeat(places, each, axis=0) + np.random.default_rng(seed).normal(0, spread, (len(places) * each, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _scored(rows: np.ndarray, labels: list[str] | None = None) -> ScoredCandidates:
    names = labels or ["all"] * len(rows)
    items = tuple(Candidate(f"g00-{i:06d}", f"text {i}", label, 0) for i, label in enumerate(names))
    return ScoredCandidates(Candidates(items), {"image": rows}, {"image": 1.0})


def _evolution(**settings) -> EvolutionConfig:
    return EvolutionConfig.model_validate({"generations": 2, "candidates": 40, "themes": [4], **settings})


def _histogram(themes: tuple[Theme, ...], counts: list[int]) -> NoisyHistogram:
    return NoisyHistogram(0, tuple(theme.id for theme in themes), np.array(counts), 1.0, "")


def test_a_generation_with_themes_is_asked_about_groups_of_similar_candidates_at_their_mean():
    scored = _scored(_rows(np.eye(8)[:4], 10))
    question = question_of(0, scored, _evolution(), seed=1)
    assert sorted(sorted(int(member[-6:]) for member in theme.members) for theme in question.themes) == [
        list(range(first, first + 10)) for first in (0, 10, 20, 30)
    ]
    for theme, place in zip(question.themes, question.asked.embeddings_KE["image"], strict=True):
        members = scored.embeddings_KE["image"][[int(member[-6:]) for member in theme.members]]
        mean = members.mean(axis=0)
        np.testing.assert_allclose(place, mean / np.linalg.norm(mean), atol=1e-6)
        near = members @ place
        assert (np.diff(near) <= 1e-6).all(), "the member nearest to the place comes first"


def test_a_generation_without_a_number_of_themes_is_asked_about_its_candidates():
    scored = _scored(_rows(np.eye(8)[:4], 10))
    question = question_of(1, scored, _evolution(), seed=1)
    assert question.asked is scored and question.themes == ()


def test_candidates_that_are_voted_on_one_by_one_after_themes_are_grouped_with_those_like_them():
    scored = _scored(_rows(np.eye(8)[:5], 8, 0.1))
    kin = question_of(1, scored, _evolution(), seed=1).kin
    assert sorted(sorted(int(member[-6:]) for member in group.members) for group in kin) == [
        list(range(first, first + 8)) for first in range(0, 40, 8)
    ], "eight of a kind, as a prompt shows"
    assert question_of(0, scored, _evolution(themes=[]), seed=1).kin == ()


def test_themes_of_a_vocabulary_are_the_candidates_that_were_asked_for_with_each_of_its_values():
    scored = _scored(_rows(np.eye(8)[:4], 10))
    scored.embeddings_KE["image"][7] = np.nan
    question = question_of(0, scored, _evolution(themes=[2]), seed=1, value_of=lambda c: "ab"[int(c.id[-6:]) % 2])
    assert [sorted(int(member[-6:]) for member in theme.members) for theme in question.themes] == [
        list(range(0, 40, 2)),
        [i for i in range(1, 40, 2) if i != 7],
    ]


def test_themes_keep_to_their_label_and_leave_out_what_has_no_embedding():
    rows = _rows(np.eye(8)[:4], 10)
    rows[3] = np.nan
    labels = ["cat"] * 20 + ["dog"] * 20
    question = question_of(0, _scored(rows, labels), _evolution(labels=["cat", "dog"]), seed=1)
    assert [theme.label for theme in question.themes] == ["cat", "cat", "dog", "dog"]
    members = [member for theme in question.themes for member in theme.members]
    assert len(set(members)) == len(members) == 39 and "g00-000003" not in members
    for theme in question.themes:
        assert {labels[int(member[-6:])] for member in theme.members} == {theme.label}


def test_without_any_embedding_nothing_is_asked():
    with pytest.raises(NothingMade):
        question_of(0, _scored(np.full((40, 8), np.nan, dtype=np.float32)), _evolution(), seed=1)


def test_the_same_candidates_make_the_same_question():
    first, again = (question_of(0, _scored(_rows(np.eye(8)[:4], 10, 0.4)), _evolution(), seed=5) for _ in range(2))
    assert first.themes == again.themes and first.asked.sha256() == again.asked.sha256()


@given(rows=hnp.arrays(np.float32, (12, 3), elements=st.sampled_from([0.0, 0.5, 1.0])), count=st.integers(2, 14))
def test_clusters_are_a_partition_with_no_empty_part(rows, count):
    found = clusters(rows, count, seed=0)
    assert sorted(np.concatenate(found).tolist()) == list(range(12))
    assert len(found) <= min(count, 12) and all(len(group) for group in found)


@given(COUNTS)
def test_settled_counts_are_not_negative_keep_their_sum_and_their_order(counts):
    settled = norm_sub(counts)
    assert (settled >= 0).all()
    assert settled.sum() == pytest.approx(max(0, counts.sum()))
    assert (np.diff(settled[np.argsort(counts, kind="stable")]) >= -1e-9).all()


def test_settled_counts_are_the_nearest_ones():
    assert norm_sub(np.array([10, 4, -2])).tolist() == [9, 3, 0]
    assert norm_sub(np.array([5, 5, 5])).tolist() == [5, 5, 5]
    assert norm_sub(np.array([-5, 3])).tolist() == [0, 0]


def test_a_themes_part_of_the_next_generation_is_that_of_its_votes():
    scored = _scored(_rows(np.eye(8)[:4], 10))
    evolution = _evolution(survivors=0.5)
    question = question_of(0, scored, evolution, seed=1)
    selected = select_by_theme(
        scored.candidates, _histogram(question.themes, [30, 10, 0, -7]), question.themes, evolution
    )
    first, second = question.themes[:2]
    # Norm-Sub takes 3.5 of each: 26.5 and 6.5 of 33, of 40 candidates.
    names = [item.candidate.id for item in selected]
    assert names == [*first.members[:10], *second.members[:4]]
    assert {item.count for item in selected[:10]} == {30}
    shares = {theme.id: sum(i.share for i in selected if i.candidate.id in theme.members) for theme in (first, second)}
    assert shares[first.id] / shares[second.id] == pytest.approx(32 / 8, rel=0.01)


def test_members_and_their_children_are_together_their_themes_part():
    """Ten members of the first theme and their children are 32 of 40; without the children they would be a third."""
    scored = _scored(_rows(np.eye(8)[:4], 10))
    evolution = _evolution(survivors=0.5)
    themes = question_of(0, scored, evolution, seed=1).themes
    selected = select_by_theme(scored.candidates, _histogram(themes, [30, 10, 0, -7]), themes, evolution)
    kept, children = survivors_and_children(evolution, 1, selected)
    everyone = [candidate.id for candidate in kept] + [child.parent.id for child in children]
    assert [sum(name in theme.members for name in everyone) for theme in themes] == [32, 8, 0, 0]


def test_votes_of_which_nothing_is_left_select_from_all_themes_alike():
    scored = _scored(_rows(np.eye(8)[:4], 10))
    question = question_of(0, scored, _evolution(), seed=1)
    selected = select_by_theme(
        scored.candidates, _histogram(question.themes, [-1, -2, -3, -4]), question.themes, _evolution()
    )
    assert len(selected) == 16 and len({item.share for item in selected}) == 1


def test_a_histogram_of_other_themes_is_refused():
    scored = _scored(_rows(np.eye(8)[:4], 10))
    question = question_of(0, scored, _evolution(), seed=1)
    with pytest.raises(ValueError, match="other themes"):
        select_by_theme(scored.candidates, _histogram(question.themes[:3], [1, 2, 3]), question.themes, _evolution())


def test_a_candidate_is_told_the_count_of_its_theme():
    rows = _rows(np.eye(8)[:4], 10)
    rows[39] = np.nan
    scored = _scored(rows)
    question = question_of(0, scored, _evolution(), seed=1)
    spread = by_candidate(scored.candidates, _histogram(question.themes, [4, 3, 2, 1]), question.themes)
    assert spread.candidate_ids == tuple(candidate.id for candidate in scored.candidates)
    assert all(spread.of(member) == 4 for member in question.themes[0].members) and spread.of("g00-000039") == 0
    plain = NoisyHistogram(0, ("g00-000000",), np.array([1]), 1.0, "")
    assert by_candidate(scored.candidates, plain, ()) is plain
