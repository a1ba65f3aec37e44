"""Quantisation and votes against plain reference code."""

import pickle

import numpy as np
import pytest

from spti_ray.private.products import NumpyProcessor
from spti_ray.private.views import NO_GROUP, NO_LABEL, SCALE, Views, VotingError, quantise, usable_rows
from spti_ray.private.voting import cast_votes, integer_weights
from spti_ray.types import Candidate, Candidates, ScoredCandidates


def scored(embeddings, labels=None, weights=None) -> ScoredCandidates:
    if not isinstance(embeddings, dict):
        embeddings = {"image": np.asarray(embeddings, np.float32)}
    num = len(next(iter(embeddings.values())))
    labels = labels or ["all"] * num
    items = tuple(Candidate(f"g00-{i:05d}", "t", labels[i], 0) for i in range(num))
    return ScoredCandidates(Candidates(items), embeddings, weights or dict.fromkeys(embeddings, 1.0))


def views(embeddings, labels=None, names=("all",), groups=None) -> Views:
    if not isinstance(embeddings, dict):
        embeddings = {"image": np.asarray(embeddings, np.float32)}
    num = len(next(iter(embeddings.values())))
    return Views(
        {space: quantise(matrix) for space, matrix in embeddings.items()},
        np.array([0] * num if labels is None else labels, np.int32),
        names,
        None if groups is None else np.array(groups, np.int64),
    )


def random_rows(num: int, width: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, width)).astype(np.float32)


def test_quantised_rows_are_unit_vectors():
    rows = quantise(random_rows(50))
    assert rows.dtype == np.int16
    np.testing.assert_allclose(np.linalg.norm(rows / SCALE, axis=1), 1, atol=1e-3)


def test_quantise_does_not_depend_on_scale_or_batch():
    rows = random_rows(33, 384)
    whole = quantise(rows)
    np.testing.assert_array_equal(whole, quantise(rows * 2.0**-30))
    np.testing.assert_array_equal(whole, np.concatenate([quantise(row[None]) for row in rows]))
    np.testing.assert_array_equal(whole[::-1], quantise(rows[::-1]))
    np.testing.assert_array_equal(whole, quantise(np.asfortranarray(rows)))
    np.testing.assert_array_equal(whole[::3], quantise(rows[::3]))


def test_unusable_rows_are_zeros_and_extreme_ones_are_not():
    rows = np.array([[np.nan, 1], [np.inf, 1], [0, 0], [1e-45, 0], [3e38, 3e38], [-1, 0]], np.float32)
    assert usable_rows(quantise(rows)).tolist() == [False, False, False, True, True, True]
    assert quantise(rows)[3].tolist() == [SCALE, 0] and quantise(rows)[5].tolist() == [-SCALE, 0]
    assert quantise(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_votes_match_a_plain_reference():
    records, candidates = random_rows(200), random_rows(30, seed=1)
    exact = quantise(records).astype(np.int64) @ quantise(candidates).astype(np.int64).T
    for k in (1, 2, 7, 30):
        expected = np.zeros(30, np.int64)
        for row in exact:
            for winner in sorted(range(30), key=lambda j: (-row[j], j))[:k]:
                expected[winner] += 1
        np.testing.assert_array_equal(cast_votes(views(records), scored(candidates), k), expected)


def test_ties_go_to_the_lowest_candidate_id():
    same = np.tile(random_rows(1), (5, 1))
    assert cast_votes(views(same[:1]), scored(same), 2).tolist() == [1, 1, 0, 0, 0]
    other = -same[0]
    assert cast_votes(views(same[:1]), scored([other, *same[:3], other]), 2).tolist() == [0, 1, 1, 0, 0]
    assert cast_votes(views(same[:1]), scored([other, *same[:2], other]), 3).tolist() == [1, 1, 1, 0]


def test_the_block_size_does_not_matter():
    records, candidates = random_rows(101), random_rows(13, seed=1)
    candidates[5] = candidates[3]
    groups = np.random.default_rng(0).integers(0, 20, 101)
    for units in (None, groups):
        results = [
            cast_votes(views(records, groups=units), scored(candidates), 3, NumpyProcessor(size)).tolist()
            for size in (1, 1000, 4321, 2**26)
        ]
        assert all(result == results[0] for result in results)


def test_a_record_votes_among_its_label_only():
    records = random_rows(60)
    labels = np.array([0, 1, NO_LABEL] * 20)
    candidates = scored(random_rows(6, seed=2), ["x", "y", "x", "y", "z", "x"])
    counts = cast_votes(views(records, labels, ("x", "y")), candidates, 2)
    assert counts[[0, 2, 5]].sum() == 40 and counts[[1, 3]].sum() == 40 and counts[4] == 0


def test_candidates_without_embedding_get_no_vote():
    candidates = random_rows(4, seed=1)
    candidates[[0, 2]] = np.nan
    counts = cast_votes(views(random_rows(10)), scored(candidates), 3)
    assert counts.tolist() == [0, 10, 0, 10]
    assert cast_votes(views(random_rows(10)), scored(np.full((4, 12), np.nan)), 3).sum() == 0


def test_a_record_that_is_unusable_in_any_space_casts_no_vote():
    image, text = random_rows(3), random_rows(3, 5, seed=1)
    image[0], text[1] = np.nan, np.nan
    joint = scored({"image": random_rows(4, seed=2), "text": random_rows(4, 5, seed=3)}, weights=None)
    assert cast_votes(views({"image": image, "text": text}), joint, 1).sum() == 1


def test_joint_voting_is_the_weighted_sum_of_both_similarities():
    spaces = {"image": random_rows(50), "text": random_rows(50, 7, seed=1)}
    others = {"image": random_rows(9, seed=2), "text": random_rows(9, 7, seed=3)}
    weights = {"image": 0.3, "text": 0.7}
    assert integer_weights(weights) == {"image": 3, "text": 7}
    similarity = 3 * quantise(spaces["image"]).astype(int) @ quantise(others["image"]).astype(int).T
    similarity += 7 * quantise(spaces["text"]).astype(int) @ quantise(others["text"]).astype(int).T
    expected = np.bincount(similarity.argmax(1), minlength=9)
    np.testing.assert_array_equal(cast_votes(views(spaces), scored(others, weights=weights), 1), expected)


def test_integer_weights():
    assert integer_weights({"image": 1.0}) == {"image": 1}
    assert integer_weights({"text": 0.0, "image": 1.0}) == {"image": 1, "text": 0}
    assert integer_weights({"image": 1 / 3, "text": 2 / 3}) == {"image": 333, "text": 667}
    for bad in ({"image": 0.0}, {"image": -1.0, "text": 3.0}, {"image": float("nan")}):
        with pytest.raises(VotingError):
            integer_weights(bad)


def test_a_group_votes_once_for_the_nearest_by_the_sum():
    records = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    candidates = scored([[1, 0], [0.7, 0.7], [0, 1]])
    assert cast_votes(views(records), candidates, 1).tolist() == [1, 2, 1]
    assert cast_votes(views(records, groups=[4, 4, 4, 4]), candidates, 1).tolist() == [0, 1, 0]
    assert cast_votes(views(records, groups=[4, 9, 9, NO_GROUP]), candidates, 1).tolist() == [1, 1, 0]


def test_group_votes_match_a_plain_reference():
    records, candidates = random_rows(90), random_rows(9, seed=1)
    groups = np.random.default_rng(0).integers(NO_GROUP, 12, 90)
    exact = quantise(records).astype(np.int64) @ quantise(candidates).astype(np.int64).T
    expected = np.zeros(9, np.int64)
    for group in set(groups.tolist()) - {NO_GROUP}:
        expected[np.argsort(-exact[groups == group].sum(axis=0), kind="stable")[:2]] += 1
    np.testing.assert_array_equal(cast_votes(views(records, groups=groups), scored(candidates), 2), expected)


def test_a_group_takes_the_label_of_its_first_usable_record():
    records = np.array([[np.nan, 0], [0, 1], [1, 0], [1, 0]], np.float32)
    candidates = scored([[1, 0], [1, 0], [0, 1]], ["x", "y", "y"])
    counts = cast_votes(views(records, [0, 1, 0, 0], ("x", "y"), [0] * 4), candidates, 1)
    assert counts.tolist() == [0, 0, 1]
    counts = cast_votes(views(records, [0, NO_LABEL, 0, 0], ("x", "y"), [0] * 4), candidates, 1)
    assert counts.tolist() == [1, 0, 0]


def test_a_huge_group_is_still_summed_exactly(monkeypatch):
    from spti_ray.private import products

    records, candidates = random_rows(300), random_rows(40, seed=1)
    groups = np.arange(300) % 3
    expected = cast_votes(views(records, groups=groups), scored(candidates), 2)
    monkeypatch.setattr(products, "EXACT_FLOAT", 1)  # forces the integer product
    np.testing.assert_array_equal(cast_votes(views(records, groups=groups), scored(candidates), 2), expected)


def test_no_records_no_votes():
    empty = Views({"image": np.zeros((0, 0), np.int16)}, np.zeros(0, np.int32), ("all",))
    assert cast_votes(empty, scored(random_rows(3)), 2).tolist() == [0, 0, 0]
    failed = Views({"image": np.zeros((5, 0), np.int16)}, np.zeros(5, np.int32), ("all",))
    assert cast_votes(failed, scored(random_rows(3)), 2).tolist() == [0, 0, 0]


def test_mismatches_are_refused():
    with pytest.raises(VotingError, match="k must"):
        cast_votes(views(random_rows(2)), scored(random_rows(2)), 0)
    with pytest.raises(VotingError, match="dimensions"):
        cast_votes(views(random_rows(2)), scored(random_rows(2, 5)), 1)
    with pytest.raises(VotingError, match="no views"):
        cast_votes(views(random_rows(2)), scored({"text": random_rows(2)}), 1)


def test_views_do_not_print_or_pickle():
    private = views(random_rows(2))
    assert repr(private) == str(private) == "<Views: private>"
    with pytest.raises(TypeError, match="private"):
        pickle.dumps(private)
