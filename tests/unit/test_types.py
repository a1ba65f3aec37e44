import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.types import (
    Candidate,
    Candidates,
    NoisyHistogram,
    RenderedImage,
    ScoredCandidates,
    derive_seed,
    split_by_share,
)


def candidate(number: int, text: str = "a red cat", label: str = "all") -> Candidate:
    return Candidate(f"g00-{number:06d}", text, label, 0)


def scored(text="a red cat", label="all", rows=((1.0, 0.0), (0.0, 1.0)), weight=1.0) -> ScoredCandidates:
    candidates = Candidates((candidate(0, text, label), candidate(1)))
    return ScoredCandidates(candidates, {"image": np.array(rows, np.float32)}, {"image": weight})


def test_candidates_keep_their_order_and_their_labels():
    candidates = Candidates((candidate(0, label="b"), candidate(1, label="a")))
    assert [item.id for item in candidates] == ["g00-000000", "g00-000001"]
    assert candidates.labels == ("b", "a") and len(candidates) == 2


@pytest.mark.parametrize("numbers", [(1, 0), (0, 0), (0, 2, 1)])
def test_candidates_that_are_not_strictly_ordered_by_id_are_refused(numbers):
    with pytest.raises(ValueError, match="ordered by id"):
        Candidates(tuple(candidate(number) for number in numbers))


@pytest.mark.parametrize(
    "other",
    [
        scored(text="a blue cat"),
        scored(label="pets"),
        scored(rows=((1.0, 0.0), (0.0, np.nextafter(np.float32(1), np.float32(2))))),
        scored(rows=((0.0, 1.0), (1.0, 0.0))),
        scored(weight=0.5),
        ScoredCandidates(scored().candidates, {"text": scored().embeddings_KE["image"]}, {"text": 1.0}),
        ScoredCandidates(Candidates((candidate(0), candidate(2))), scored().embeddings_KE, {"image": 1.0}),
    ],
    ids=["text", "label", "embedding", "rows swapped", "weight", "space", "id"],
)
def test_the_hash_of_scored_candidates_changes_with_everything_that_votes_depend_on(other):
    assert scored().sha256() == scored().sha256()
    assert scored().sha256() != other.sha256()


def test_the_hash_does_not_depend_on_memory_layout_or_on_the_order_of_spaces():
    rows_KE = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    candidates = scored().candidates
    one = ScoredCandidates(candidates, {"image": rows_KE, "text": rows_KE}, {"image": 0.5, "text": 0.5})
    other = ScoredCandidates(
        candidates, {"text": np.asfortranarray(rows_KE), "image": rows_KE}, {"text": 0.5, "image": 0.5}
    )
    assert one.sha256() == other.sha256()


def test_texts_can_not_be_moved_between_candidates_without_changing_the_hash():
    """The fields are delimited: a quote or a comma in a text can't stand for the end of it."""
    rows_KE = np.zeros((2, 2), np.float32)
    texts = [("a", 'b","x'), ('a","b', "x")]
    hashes = {
        ScoredCandidates(
            Candidates((candidate(0, first), candidate(1, second))), {"image": rows_KE}, {"image": 1.0}
        ).sha256()
        for first, second in texts
    }
    assert len(hashes) == 2


def test_embeddings_must_match_the_candidates_and_the_weights():
    candidates = scored().candidates
    with pytest.raises(ValueError, match="one row per candidate"):
        ScoredCandidates(candidates, {"image": np.zeros((3, 2), np.float32)}, {"image": 1.0})
    with pytest.raises(ValueError, match="same voting spaces"):
        ScoredCandidates(candidates, {"image": np.zeros((2, 2), np.float32)}, {"text": 1.0})
    with pytest.raises(ValueError, match="same voting spaces"):
        ScoredCandidates(candidates, {}, {})


def test_a_histogram_is_read_by_candidate_id():
    histogram = NoisyHistogram(0, ("g00-000000", "g00-000004"), np.array([-3, 7], np.int64), 1.0, "")
    assert histogram.of("g00-000004") == 7 and histogram.of("g00-000000") == -3


def test_a_rendered_image_does_not_print_its_bytes():
    assert "PNGBYTES" not in repr(RenderedImage("g00-000000", 0, 1, b"PNGBYTES"))


@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), min_size=1, max_size=4))
def test_a_seed_has_63_bits_and_depends_on_its_parts_alone(parts):
    assert 0 <= derive_seed(*parts) < 2**63
    assert derive_seed(*parts) == derive_seed(*parts)


def test_seeds_of_different_parts_differ():
    parts = [(0, "g00-000000", 0), (1, "g00-000000", 0), (0, "g00-000001", 0), (0, "g00-000000", 1), (0, "g00-0000000")]
    assert len({derive_seed(*part) for part in parts}) == len(parts)
    assert derive_seed("ab", "c") != derive_seed("a", "bc")


def test_a_seed_is_the_same_on_every_machine_and_in_every_version():
    assert derive_seed(0, "g00-000000", 0, "image") == 5592671599550708283


shares = st.lists(st.one_of(st.integers(1, 1000), st.floats(1e-3, 1e3)), min_size=1, max_size=30)


@given(st.integers(0, 10**6), shares)
def test_a_split_adds_up_and_is_within_one_of_exact(total, shares):
    counts = split_by_share(total, shares)
    assert sum(counts) == total
    for count, share in zip(counts, shares, strict=True):
        assert count >= 0
        assert abs(count - total * share / sum(shares)) < 1 + 1e-6


def test_a_split_gives_what_is_left_to_the_largest_remainder_and_then_to_the_first():
    assert split_by_share(10, [1, 1, 1]) == [4, 3, 3]
    assert split_by_share(10, [0.25, 0.58, 0.17]) == [2, 6, 2]
    assert split_by_share(2, [1, 1, 1, 1]) == [1, 1, 0, 0]
    assert split_by_share(0, [1, 2]) == [0, 0]
