"""Votes that were prepared ahead are the votes that would have been cast, whatever was seen ahead and how."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.private import top_k as module
from spti_ray.private.top_k import IncrementalTopK
from spti_ray.private.views import Views, quantise
from spti_ray.private.voting import cast_votes
from spti_ray.types import Candidate, Candidates, ScoredCandidates
from tests.statistical.neighbours import check_sensitivity, is_caught, queries


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("top_k")


def some(scored: ScoredCandidates, kept: list[int]) -> ScoredCandidates:
    """The candidates of these positions, by id."""
    return scored.only([i in kept for i in range(len(scored.candidates))])


def looked_at(folder, views, scored, k, blocks: list[list[int]]) -> IncrementalTopK:
    found = IncrementalTopK(folder, k)
    for block in blocks:
        found.add(views, some(scored, block))
    return found


@st.composite
def partitions(draw, most: int) -> list[list[int]]:
    """Some of the positions, cut into blocks in any order."""
    order = draw(st.permutations(range(most)))
    seen = list(order)[: draw(st.integers(0, most))]
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(seen))), max_size=3)))
    return [seen[a:b] for a, b in zip([0, *cuts], [*cuts, len(seen)], strict=True) if seen[a:b]]


@settings(max_examples=300, deadline=None)
@given(queries(), st.data(), st.sampled_from([1, 100, module.BLOCK_BYTES]))
def test_the_votes_are_the_same_whatever_was_seen_ahead(folder, query, data, chunk_bytes):
    views, scored, k = query
    blocks = data.draw(partitions(len(scored.candidates)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", chunk_bytes)
        found = looked_at(folder, views, scored, k, blocks)
        np.testing.assert_array_equal(found.count(views, scored), cast_votes(views, scored, k))
    assert list(folder.iterdir()) == [], "what is kept has no name"


@settings(max_examples=100, deadline=None)
@given(queries(), st.data())
def test_removing_one_unit_changes_at_most_k_counts_by_one(folder, query, data):
    blocks = data.draw(partitions(len(query[1].candidates)))
    check_sensitivity(lambda v, scored, k: looked_at(folder, v, scored, k, blocks).count(v, scored), *query)


@settings(max_examples=150, deadline=None)
@given(queries(), st.data())
def test_candidates_that_are_others_now_are_compared_again(folder, query, data):
    """Seen ahead with other rows, labels or weights, or gone since: the query's own candidates count."""
    views, scored, k = query
    blocks = data.draw(partitions(len(scored.candidates)))
    items = scored.candidates.items
    changed = data.draw(st.sampled_from(["rows", "labels", "weights", "gone"]))
    other = scored
    if changed == "rows":
        other = replace(scored, embeddings_KE={s: np.roll(m, 1, axis=1) for s, m in scored.embeddings_KE.items()})
    elif changed == "labels":
        labels = [item.label for item in items[1:] + items[:1]]
        other = replace(
            scored, candidates=Candidates(tuple(replace(c, label=name) for c, name in zip(items, labels, strict=True)))
        )
    elif changed == "weights":
        other = replace(scored, weights={s: 1.0 + i for i, s in enumerate(sorted(scored.weights))})
    found = looked_at(folder, views, other, k, blocks)
    asked = some(scored, list(range(max(1, len(items) - 2)))) if changed == "gone" else scored
    np.testing.assert_array_equal(found.count(views, asked), cast_votes(views, asked, k))


def test_a_block_that_is_seen_twice_counts_once(folder):
    views, scored, k = _example()
    blocks = [list(range(len(scored.candidates)))] * 2
    found = looked_at(folder, views, scored, k, blocks)
    np.testing.assert_array_equal(found.count(views, scored), cast_votes(views, scored, k))


def test_merging_that_prefers_the_later_block_among_equals_is_caught(folder, monkeypatch):
    """The check above would see a fault: ties must go to the lowest id."""

    def last_of_equals(similarities, ranks, k):
        return honest(similarities, -ranks, k) * -1

    honest = module._nearest_ranks
    views, scored, k = _example()
    monkeypatch.setattr(module, "_nearest_ranks", last_of_equals)
    found = looked_at(folder, views, scored, k, [[0], [1]])
    assert not np.array_equal(found.count(views, scored), cast_votes(views, scored, k))


def test_a_block_counted_for_itself_is_caught():
    """Careless: every block's nearest get votes."""

    def check(query):
        views, scored, k = query
        counts = np.zeros(len(scored.candidates), dtype=np.int64)
        for i in range(2):
            half = some(scored, list(range(i, len(scored.candidates), 2)))
            counts[i::2] += cast_votes(views, half, k)
        np.testing.assert_array_equal(counts, cast_votes(views, scored, k))

    assert is_caught(check, queries())


def _example():
    """Two equal candidates and one record that is as near to both."""
    rows = np.ones((2, 3), dtype=np.float32)
    items = Candidates(tuple(Candidate(f"g00-{i}", "t", "all", 0) for i in range(2)))
    views = Views({"image": quantise(rows[:1])}, np.zeros(1, np.int32), ("all",))
    return views, ScoredCandidates(items, {"image": rows}, {"image": 1.0}), 1
