import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import EvolutionConfig
from spti_ray.public.selection import allot_images, select
from spti_ray.types import Candidate, Candidates, NoisyHistogram, Selected


def population(labels: list[str]) -> Candidates:
    return Candidates(tuple(Candidate(f"g00-{i:06d}", f"text {i}", label, 0) for i, label in enumerate(labels)))


def histogram(candidates: Candidates, counts: list[int], generation: int = 0) -> NoisyHistogram:
    ids = tuple(candidate.id for candidate in candidates)
    return NoisyHistogram(generation, ids, np.array(counts, np.int64), 1.0, "hash")


def picked(counts: list[int], seed: int = 0, labels: list[str] | None = None, generation: int = 0, **settings):
    candidates = population(labels or ["all"] * len(counts))
    evolution = EvolutionConfig(generations=1, candidates=len(counts), **settings)
    return select(candidates, histogram(candidates, counts, generation), (), evolution, seed)


def numbers(selected) -> list[int]:
    return [int(item.candidate.id[-6:]) for item in selected]


def test_rank_selects_the_most_voted_in_order_with_equal_shares():
    selected = picked([3, 9, -4, 7, 8], survivors=0.6)
    assert numbers(selected) == [1, 4, 3]
    assert [(item.count, item.share) for item in selected] == [(9, 1), (8, 1), (7, 1)]


def test_ties_go_to_the_lowest_id():
    assert numbers(picked([5, 7, 5, 7, 5], survivors=0.6)) == [1, 3, 0]


def test_at_least_one_candidate_survives_even_when_all_counts_are_negative():
    assert numbers(picked([-9, -3, -5], survivors=0.01)) == [1]


def test_each_label_selects_among_its_own_candidates_by_its_own_quota():
    labels = [{"name": "a", "share": 3}, {"name": "b", "share": 1}]
    candidates = population(["a"] * 6 + ["b"] * 2)
    evolution = EvolutionConfig(generations=1, candidates=8, survivors=0.5, labels=labels)
    selected = select(candidates, histogram(candidates, [1, 2, 3, 4, 5, 6, 0, -1]), (), evolution, 0)
    assert numbers(selected) == [5, 4, 3, 6]


def test_a_histogram_of_other_candidates_is_refused():
    candidates, others = population(["all"] * 3), population(["all"] * 4)
    evolution = EvolutionConfig(generations=1, candidates=3)
    with pytest.raises(ValueError, match="other candidates"):
        select(candidates, histogram(others, [1, 2, 3, 4]), (), evolution, 0)


def test_sampling_is_the_same_for_the_same_seed_and_differs_by_seed_and_generation():
    counts = list(range(1, 41))
    first = picked(counts, selection="sample")
    assert first == picked(counts, selection="sample")
    assert first != picked(counts, seed=1, selection="sample")
    assert first != picked(counts, generation=1, selection="sample")


def test_sampling_does_not_touch_the_global_generator():
    random.seed(1)
    before = random.getstate()
    picked([1, 2, 3], selection="sample")
    assert random.getstate() == before


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30), st.integers(0, 99), st.floats(0.05, 1))
def test_sampling_draws_the_wanted_number_and_never_a_negative_count(counts, seed, survivors):
    selected = picked(counts, seed=seed, selection="sample", survivors=survivors)
    wanted = max(1, round(len(counts) * survivors))
    assert sum(item.share for item in selected) == wanted
    if any(count > 0 for count in counts):
        assert all(item.count > 0 for item in selected)
    assert [item.count for item in selected] == sorted((item.count for item in selected), reverse=True)


def test_sampling_is_in_proportion_to_the_counts():
    """Over many seeds: 3 of 4 draws go to the candidate with 3 of 4 votes."""
    drawn = [0, 0]
    for seed in range(400):
        for item in picked([300, 100], seed=seed, selection="sample", survivors=1.0):
            drawn[int(item.candidate.id[-1])] += item.share
    assert sum(drawn) == 800
    assert 540 < drawn[0] < 660  # 600 expected, sigma 12.2


def test_sampling_without_a_positive_count_falls_back_to_rank():
    assert numbers(picked([-3, 0, -1, 0], selection="sample", survivors=0.5)) == [1, 3]


def selection_of(*shares: int, label: str = "all") -> tuple[Selected, ...]:
    return tuple(
        Selected(Candidate(f"g00-{label}{i:04d}", f"text {label} {i}", label, 0), 10 - i, share)
        for i, share in enumerate(shares)
    )


def allotted(selected, quota, images_per_text) -> list[tuple[str, int]]:
    return [(candidate.text.split()[-1], count) for candidate, count in allot_images(selected, quota, images_per_text)]


def test_the_best_texts_get_the_asked_number_of_images():
    assert allotted(selection_of(1, 1, 1, 1), {"all": 6}, 3) == [("0", 3), ("1", 3)]


def test_a_quota_that_does_not_divide_is_still_met_exactly():
    assert allotted(selection_of(1, 1, 1, 1), {"all": 7}, 3) == [("0", 3), ("1", 2), ("2", 2)]


def test_too_few_texts_get_more_images_each():
    assert allotted(selection_of(1, 1), {"all": 7}, 1) == [("0", 4), ("1", 3)]


def test_sampled_texts_get_images_in_proportion_to_the_times_drawn():
    assert allotted(selection_of(3, 1), {"all": 8}, 4) == [("0", 6), ("1", 2)]


def test_every_label_gets_its_quota():
    selected = selection_of(1, 1, label="a") + selection_of(1, 1, 1, label="b")
    chosen = allot_images(selected, {"a": 5, "b": 3}, 1)
    assert sum(count for candidate, count in chosen if candidate.label == "a") == 5
    assert sum(count for candidate, count in chosen if candidate.label == "b") == 3


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(0, 200), st.integers(1, 10))
def test_the_images_add_up_and_no_text_gets_none(shares, images, images_per_text):
    chosen = allot_images(selection_of(*shares), {"all": images}, images_per_text)
    assert sum(count for _, count in chosen) == images
    assert all(count > 0 for _, count in chosen)


def test_equal_texts_are_released_once():
    texts = ["a red cat", "A red cat.", "a blue dog"]
    selected = tuple(Selected(Candidate(f"g00-{i:06d}", text, "all", 0), 9 - i, 1) for i, text in enumerate(texts))
    allotted = allot_images(selected, {"all": 4}, images_per_text=2)
    assert [(candidate.text, count) for candidate, count in allotted] == [("a red cat", 2), ("a blue dog", 2)]
