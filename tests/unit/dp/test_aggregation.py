"""The sum of the shards' votes: each shard once, on the reserved query, and nothing of them in a refusal."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.dp.aggregation import MAX_TOTAL, GateError, aggregate_votes
from spti_ray.votes import Query, Votes

QUERY = Query("run-a", 3, "ab")


def shard(shard_id: int, counts: list[int] | None = None, query: Query = QUERY, max_total: int = 100) -> Votes:
    return Votes(query, shard_id, np.array(counts or [1, 2, 3, 4, 5, 6], dtype=np.int64), max_total)


@settings(max_examples=60)
@given(data=st.data())
def test_the_sum_does_not_depend_on_order_or_repetition(data: st.DataObject):
    num = data.draw(st.integers(1, 5))
    counts = data.draw(st.lists(st.lists(st.integers(0, 9), min_size=6, max_size=6), min_size=num, max_size=num))
    order = data.draw(st.permutations(range(num))) + data.draw(st.lists(st.integers(0, num - 1), max_size=4))
    votes = (Votes(QUERY, i, np.array(counts[i], dtype=np.int64), 54) for i in order)
    total = aggregate_votes(votes, num, QUERY, 6)
    assert total.counts_K.tolist() == np.sum(counts, axis=0).tolist() and total.max_total == 54 * num


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(0, 2**36), min_size=6, max_size=6),
    place=st.integers(0, 5),
    change=st.integers(-(2**36), 2**36).filter(bool),
)
def test_a_shard_that_answers_twice_must_answer_the_same(counts: list[int], place: int, change: int):
    other = list(counts)
    other[place] = abs(other[place] + change)
    twice = [shard(0, counts, max_total=2**40), shard(0, other, max_total=2**40)]
    if other == counts:
        assert aggregate_votes(twice, 1, QUERY, 6).counts_K.tolist() == counts
    else:
        with pytest.raises(GateError, match="shard 0 sent two different results"):
            aggregate_votes(twice, 1, QUERY, 6)


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([shard(0)], r"1 of 2 shards sent no votes \(first: \[1\]\)"),
        ([], "2 of 2 shards sent no votes"),
        ([shard(0), shard(1), shard(2)], "votes of shard 2, but there are 2 shards"),
        ([shard(0), shard(-1)], "votes of shard -1"),
        ([shard(0), shard(0, [1, 2, 3, 4, 6, 5]), shard(1)], "shard 0 sent two different results"),
        ([shard(0), shard(0, max_total=99), shard(1)], "shard 0 sent two different results"),
        ([shard(1, query=Query("run-b", 3, "ab"))], "shard 1 voted for run 'run-b', not 'run-a'"),
        ([shard(1, query=Query("run-a", 2, "ab"))], "shard 1 voted on generation 2, not 3"),
        ([shard(1, query=Query("run-a", 3, "cd"))], "shard 1 voted on other candidates"),
        ([shard(1, [1, 2, 3])], "shard 1 must be 6 int64 counts"),
        ([Votes(QUERY, 1, np.ones(6), 9)], "shard 1 must be 6 int64 counts"),  # type: ignore[arg-type]
        ([shard(1, [-1, 2, 3, 4, 5, 6])], "shard 1 are outside"),
        ([shard(1, [80, 21, 0, 0, 0, 0])], "shard 1 are outside"),
        ([shard(1, [2**62, 2**62, 2**62, 2**62, 0, 0], max_total=MAX_TOTAL)], "shard 1 are outside"),
        ([shard(1, [MAX_TOTAL, 1, 0, 0, 0, 0], max_total=MAX_TOTAL)], "shard 1 are outside"),
        ([shard(1, max_total=MAX_TOTAL + 1)], "shard 1 are outside"),
        ([shard(1, max_total=-1)], "shard 1 are outside"),
    ],
)
def test_votes_that_break_the_rules_are_refused(votes: list[Votes], message: str):
    with pytest.raises(GateError, match=message):
        aggregate_votes(votes, 2, QUERY, 6)


def test_limits_within_which_no_sum_can_overflow():
    biggest = shard(0, [MAX_TOTAL, 0, 0, 0, 0, 0], max_total=MAX_TOTAL)
    assert aggregate_votes([biggest], 1, QUERY, 6).counts_K[0] == MAX_TOTAL
    for shards, candidates in ((0, 6), (2**20 + 1, 6), (1, 2**22 + 1)):
        with pytest.raises(GateError, match="outside what one query can count"):
            aggregate_votes([], shards, QUERY, candidates)


@pytest.mark.parametrize("last", [shard(1, [0, 0, 31337, 0, 0, 0], max_total=4242), shard(0, [7, 0, 0, 0, 0, 0])])
def test_neither_a_refusal_nor_its_frames_show_counts(last: Votes):
    with pytest.raises(GateError) as refusal:
        aggregate_votes([shard(0, [31337, 0, 0, 0, 0, 0], max_total=424242), last], 2, QUERY, 6)
    frame, shown = refusal.value.__traceback__, [str(refusal.value)]
    while frame is not None:
        if "spti_ray" in frame.tb_frame.f_code.co_filename:
            shown += [repr(value) for value in frame.tb_frame.f_locals.values()]
        frame = frame.tb_next
    assert len(shown) > 5 and not any("31337" in text or "4242" in text for text in shown)


def test_memory_does_not_grow_with_the_shards():
    def votes(num: int) -> Iterator[Votes]:
        return (Votes(QUERY, i, np.full(10_000, 1, dtype=np.int64), 10_000) for i in range(num))

    tracemalloc.start()
    try:
        aggregate_votes(votes(500), 500, QUERY, 10_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 80_000 + 500 * 500  # a few arrays of 80 kB, and some bytes per shard; all arrays would be 40 MB
