"""Audit 1 of the privacy contract: adding or removing one unit changes at most k counts, each by 1.

Property-based, with what breaks careless code: exact ties, duplicates, NaN, records and candidates without label,
k at the number of candidates, joint voting, groups, any order, any sharding, any block size.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.private.shard import Shard
from spti_ray.private.voting import NO_GROUP, NO_LABEL, Views, cast_votes, quantise
from spti_ray.types import Candidate, Candidates, ScoredCandidates

LABELS = ("x", "y")
WIDTH = 3
# Few values make ties, duplicates and zero vectors common; NaN and inf make unusable rows.
ENTRY = st.sampled_from([-1.0, 0.0, 0.0, 1.0, 2.0, 0.1, float("nan"), float("inf")])
ROW = st.lists(ENTRY, min_size=WIDTH, max_size=WIDTH) | st.sampled_from([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])


@st.composite
def queries(draw):
    num_records = draw(st.integers(1, 12))
    num_candidates = draw(st.integers(1, 7))
    spaces = draw(st.sampled_from([("image",), ("image", "text")]))

    def matrix(num):
        return np.array(draw(st.lists(ROW, min_size=num, max_size=num)), np.float32).reshape(num, WIDTH)

    names = draw(st.lists(st.sampled_from([*LABELS, "other"]), min_size=num_candidates, max_size=num_candidates))
    items = tuple(Candidate(f"g00-{i:05d}", "t", name, 0) for i, name in enumerate(names))
    weights = {space: draw(st.sampled_from([0.3, 0.5, 1.0])) for space in spaces}
    scored = ScoredCandidates(Candidates(items), {space: matrix(num_candidates) for space in spaces}, weights)
    codes = st.sampled_from([0, 0, 1, NO_LABEL])
    views = Views(
        {space: quantise(matrix(num_records)) for space in spaces},
        np.array(draw(st.lists(codes, min_size=num_records, max_size=num_records)), np.int32),
        LABELS,
        np.array(draw(st.lists(st.integers(NO_GROUP, 3), min_size=num_records, max_size=num_records)), np.int64)
        if draw(st.booleans())
        else None,
    )
    return views, scored, draw(st.integers(1, num_candidates + 1))


def take(views: Views, rows) -> Views:
    rows = np.asarray(rows, dtype=np.int64)
    groups = None if views.groups_P is None else views.groups_P[rows]
    vectors = {space: matrix[rows] for space, matrix in views.vectors_PE.items()}
    return Views(vectors, views.labels_P[rows], views.label_names, groups)


def units(views: Views) -> list[np.ndarray]:
    if views.groups_P is None:
        return [np.array([i]) for i in range(len(views.labels_P))]
    return [np.flatnonzero(views.groups_P == code) for code in np.unique(views.groups_P)]


@settings(max_examples=300, deadline=None)
@given(queries())
def test_removing_one_unit_changes_at_most_k_counts_by_one(query):
    views, scored, k = query
    everyone = np.arange(len(views.labels_P))
    counts = cast_votes(views, scored, k)
    for unit in units(views):
        without = cast_votes(take(views, np.setdiff1d(everyone, unit)), scored, k)
        change = counts - without
        assert (change**2).sum() <= k
        assert set(change.tolist()) <= {0, 1}
        # Additivity: what leaves is exactly the unit's own vote vector, which no other unit can influence.
        np.testing.assert_array_equal(change, cast_votes(take(views, unit), scored, k))
    assert counts.sum() <= k * views.num_units


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
    total = sum(cast_votes(take(views, rows), scored, k, block_bytes) for rows in shards)
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


def histogram(rows: list[tuple], unit: str, num_shards: int, k: int, batch_size: int) -> np.ndarray:
    angles = np.linspace(0, np.pi / 2, 6)
    matrix = np.stack([np.cos(angles), np.cos(angles) / 2, np.sin(angles)], axis=1).astype(np.float32)
    matrix[3] = matrix[2]
    items = tuple(Candidate(f"g00-{i:05d}", "t", LABELS[i % 2], 0) for i in range(6))
    scored = ScoredCandidates(Candidates(items), {"image": matrix}, {"image": 1.0})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.parquet"
        image, label, user = zip(*rows, strict=True)
        pq.write_table(pa.table({"image": image, "label": label, "user": user}), path, row_group_size=2)
        data = DataConfig(path=str(path), label_column="label", group_column="user")
        total = np.zeros(6, np.int64)
        for shard_id in range(num_shards):
            shard = Shard(
                data,
                shard_id=shard_id,
                num_shards=num_shards,
                unit=unit,
                label_names=LABELS,
                spaces=["image"],
                batch_size=batch_size,
            )
            shard.prepare(embed)
            total += shard.vote(scored, k).counts_K
    return total


FILE_ROW = st.tuples(
    st.sampled_from([png(v) for v in (0, 30, 60, 90, 120, 250)] + [b"", b"junk"]),
    st.sampled_from(["x", "y", "unlisted", None]),
    st.sampled_from(["u1", "u2", "u3", "", None]),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(FILE_ROW, min_size=2, max_size=7),
    st.sampled_from(["record", "group"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.data(),
)
def test_the_whole_shard_has_the_sensitivity_of_one_vote(rows, unit, num_shards, k, batch_size, draw):
    """From the file to the counts, with images that don't decode, break their batch or embed as NaN."""
    counts = histogram(rows, unit, num_shards, k, batch_size)
    i = draw.draw(st.integers(0, len(rows) - 1))
    rest = [row for j, row in enumerate(rows) if (j != i if unit == "record" else row[2] != rows[i][2])]
    if not rest:
        return
    # One unit less also shifts the other records to other shards and batches.
    change = counts - histogram(rest, unit, draw.draw(st.integers(1, 3)), k, draw.draw(st.sampled_from([1, 3])))
    assert (change**2).sum() <= k and set(change.tolist()) <= {0, 1}
