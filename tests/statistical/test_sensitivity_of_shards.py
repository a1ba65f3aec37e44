"""Audit 1 of the privacy contract, from the file and from retried shards to the sum that the gate noises.

One unit changes at most k of these counts by 1, whatever shard each unit is in, however often and in whatever order
the shards' results arrive, and with images that don't decode, break their batch or embed as NaN.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.dp.aggregation import GateError, aggregate_votes
from spti_ray.private.products import NumpyProcessor
from spti_ray.private.shard import Shard
from spti_ray.private.voting import cast_votes
from spti_ray.probe import Probe
from spti_ray.types import Candidate, Candidates, ScoredCandidates
from spti_ray.votes import Query, Votes
from tests.statistical.neighbours import LABELS, check_change, is_caught, queries, take, units, without

QUERY = Query("run", 0, "a" * 64)
RANDOMS = st.randoms(use_true_random=False)


def results_of_shards(views, scored, k, random) -> list[Votes]:
    """One result per shard, with every unit in a shard at random."""
    parts = units(views)
    random.shuffle(parts)
    shards = [[] for _ in range(random.randint(1, 4))]
    for part in parts:
        random.choice(shards).extend(part)
    return [result_of_shard(shard, take(views, rows), scored, k, random) for shard, rows in enumerate(shards)]


def result_of_shard(shard, views, scored, k, random) -> Votes:
    counts_K = cast_votes(views, scored, k, NumpyProcessor(random.choice([1, 200, 2**20])))
    return Votes(QUERY, shard, counts_K, max_total=k * views.num_units)


def delivered(results, random) -> list[Votes]:
    """The results, some of them several times (a shard was retried, or its answer came twice), in any order."""
    copies = [
        Votes(QUERY, r.shard_id, r.counts_K.copy(), r.max_total)
        for r in results
        for _ in range(random.choice([0, 0, 1, 2]))
    ]
    arrived = [*results, *copies]
    random.shuffle(arrived)
    return arrived


def check_sum(add, query, random) -> None:
    """`add(votes, num_shards, query, num_candidates)` is the gate's aggregation, or one with a fault."""
    views, scored, k = query

    def total(some_views):
        results = results_of_shards(some_views, scored, k, random)
        return add(delivered(results, random), len(results), QUERY, len(scored.candidates)).counts_K

    counts_K = total(views)
    np.testing.assert_array_equal(counts_K, cast_votes(views, scored, k))
    for unit in units(views):
        check_change(counts_K, total(without(views, unit)), k)


@settings(max_examples=150, deadline=None)
@given(queries(), RANDOMS)
def test_retried_duplicated_and_reordered_results_of_any_shards_have_the_sensitivity_of_one_vote(query, random):
    check_sum(aggregate_votes, query, random)


def every_result_that_arrives(votes, num_shards, query, num_candidates):
    return Votes(query, -1, sum(vote.counts_K for vote in votes), sum(vote.max_total for vote in votes))


def the_first_results_that_arrive(votes, num_shards, query, num_candidates):
    return every_result_that_arrives(votes[:num_shards], num_shards, query, num_candidates)


@pytest.mark.parametrize("fault", [every_result_that_arrives, the_first_results_that_arrive])
def test_a_sum_with_a_planted_fault_is_caught_by_the_same_check(fault):
    assert is_caught(lambda query, random: check_sum(fault, query, random), queries(), RANDOMS)


@settings(max_examples=100, deadline=None)
@given(queries(), RANDOMS)
def test_a_sum_over_missing_contradicting_or_foreign_results_is_refused(query, random):
    views, scored, k = query
    results = results_of_shards(views, scored, k, random)
    one, num_shards, size = random.choice(results), len(results), len(scored.candidates)
    missing = [vote for vote in delivered(results, random) if vote.shard_id != one.shard_id]
    more_K = one.counts_K + np.eye(size, dtype=np.int64)[random.randrange(size)]
    contradiction = Votes(QUERY, one.shard_id, more_K, one.max_total + 1)
    other_generation = Votes(Query("run", 1, "a" * 64), one.shard_id, one.counts_K, one.max_total)
    over_the_bound = Votes(QUERY, one.shard_id, more_K, int(more_K.sum()) - 1)
    for arrived in (
        missing,
        [*results, contradiction],
        [contradiction, *results],
        [*results, other_generation],
        [*missing, over_the_bound],
    ):
        with pytest.raises(GateError):
            aggregate_votes(arrived, num_shards, QUERY, size)


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (value, value // 2, 255 - value)).save(buffer, "PNG")
    return buffer.getvalue()


def embed(images) -> np.ndarray:
    rows = np.stack([image[0, 0].astype(np.float32) for image in images])
    rows[rows[:, 0] == 60] = np.nan
    if (rows[:, 0] == 90).any():
        raise RuntimeError("an image that breaks its batch")
    return rows


def embed_with_statistics_of_the_batch(images) -> np.ndarray:
    rows = embed(images)
    return rows - np.nanmean(rows, axis=0) + 1


def sums(rows: list[tuple], unit: str, num_shards: int, k: int, batch_size: int, engine) -> tuple[np.ndarray, ...]:
    """The gate's sums for a Parquet file of (image, label, user), of votes and of answers to a probe; the first shard
    answers twice."""
    angles = np.linspace(0, np.pi / 2, 6)
    matrix = np.stack([np.cos(angles), np.cos(angles) / 2, np.sin(angles)], axis=1).astype(np.float32)
    matrix[3] = matrix[2]
    items = tuple(Candidate(f"g00-{i:05d}", "t", LABELS[i % 2], 0) for i in range(6))
    scored = ScoredCandidates(Candidates(items), {"image": matrix}, {"image": 1.0})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.parquet"
        image, label, user = zip(*rows, strict=True)
        columns = {"image": pa.array(image, pa.binary()), "label": pa.array(label, pa.string())}
        pq.write_table(pa.table(columns | {"user": pa.array(user, pa.string())}), path, row_group_size=2)
        data = DataConfig(path=str(path), label_column="label", group_column="user")
        votes, answers = [], []
        for shard_id in [*range(num_shards), 0]:
            shard = Shard(
                data,
                shard_id=shard_id,
                num_shards=num_shards,
                unit=unit,
                label_names=LABELS,
                spaces=["image"],
                cache=Path(folder) / "views",
                fingerprint="f",
                batch_size=batch_size,
            )
            shard.prepare(engine)
            votes.append(shard.vote("run", 0, scored, k))
            answers.append(shard.answer("run", 0, PROBE))
    return (
        aggregate_votes(votes, num_shards, Query("run", 0, scored.sha256()), 6).counts_K,
        aggregate_votes(answers, num_shards, Query("run", 0, PROBE.sha256()), len(PROBE.cells)).counts_K,
    )


def check_shards(engine, rows, unit, k, removed, before, after) -> None:
    """Remove the unit of row `removed`; shards and batch size differ `before` and `after`."""
    sums_before = sums(rows, unit, before[0], k, before[1], engine)
    i = removed % len(rows)
    rest = [row for j, row in enumerate(rows) if (j != i if unit == "record" else row[2] != rows[i][2])]
    if rest:
        sums_after = sums(rest, unit, after[0], k, after[1], engine)
        for counts_K, without_K, votes in zip(sums_before, sums_after, (k, 1), strict=True):
            check_change(counts_K, without_K, votes)


PROBE = Probe.rounded(
    np.array([[1.0, 0.2, 0.1], [0.1, 0.4, 1.0]]), np.array([0.1, 0.0]), np.eye(2, dtype=np.bool_), LABELS, by_class=True
)
FILE_ROW = st.tuples(
    st.sampled_from([png(v) for v in (0, 30, 60, 90, 120, 250)] + [b"", b"junk"]),
    st.sampled_from(["x", "y", "unlisted", None]),
    st.sampled_from(["u1", "u2", "u3", "", None]),
)
LAYOUT = st.tuples(st.integers(1, 3), st.sampled_from([1, 3]))
FILES = (
    st.lists(FILE_ROW, min_size=2, max_size=7),
    st.sampled_from(["record", "group"]),
    st.integers(1, 3),
    st.integers(0, 6),
    LAYOUT,
    LAYOUT,
)


@settings(max_examples=40, deadline=None)
@given(*FILES)
def test_the_whole_shard_has_the_sensitivity_of_one_vote(rows, unit, k, removed, before, after):
    """From the file to the counts, of votes and of answers to a probe.

    One unit less also shifts the other records to other shards and batches.
    """
    check_shards(embed, rows, unit, k, removed, before, after)


def test_an_engine_that_mixes_the_records_of_a_batch_is_caught_by_the_same_check():
    assert is_caught(lambda *file: check_shards(embed_with_statistics_of_the_batch, *file), *FILES)
