"""A shard's views in a file: the same votes as in memory, and a memory that does not grow with the records."""

import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spti_ray.private import view_store as stored
from spti_ray.private.view_store import ViewRow, read_views, view_writer
from spti_ray.private.views import NO_GROUP, Views
from spti_ray.private.voting import cast_votes
from spti_ray.types import Candidate, Candidates, ScoredCandidates

LABELS = ("x", "y")


def write(path, vectors, labels, groups=None, key="key"):
    """`vectors`: space -> list of int16 rows or None."""
    groups = [NO_GROUP] * len(labels) if groups is None else groups
    with view_writer(path, sorted(vectors), key) as file:
        for i, (label, group) in enumerate(zip(labels, groups, strict=True)):
            there = {space: rows[i] for space, rows in vectors.items() if rows[i] is not None}
            problem = None if len(there) == len(vectors) else "gone"
            file.add(ViewRow(10 * i, label, group, problem, there))


def random_rows(random, count, width):
    rows = random.integers(-9, 10, (count, width)).astype(np.int16)
    return [None if random.random() < 0.2 else row for row in rows]


def in_memory(rows, width):
    return np.stack([np.zeros(width, np.int16) if row is None else row for row in rows])


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 7), st.booleans())
def test_votes_from_a_file_are_votes_from_memory(tmp_path_factory, seed, count, block, grouped):
    random = np.random.default_rng(seed)
    widths = {"image": 3, "text": 5}
    vectors = {space: random_rows(random, count, width) for space, width in widths.items()}
    labels = random.integers(-1, 2, count).astype(np.int32)
    groups = random.integers(-1, 5, count)
    path = tmp_path_factory.mktemp("views") / "v.arrow"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_BLOCK_ROWS", block)
        write(path, vectors, labels.tolist(), groups.tolist())
        views, problems = read_views(path, ["image", "text"], LABELS, grouped, "key")
        memory = Views(
            {
                space: in_memory(rows, len(next((row for row in rows if row is not None), [0])))
                for space, rows in vectors.items()
            },
            labels,
            LABELS,
            groups if grouped else None,
        )
        items = Candidates(tuple(Candidate(f"g00-{i:05d}", "t", LABELS[i % 2], 0) for i in range(6)))
        embeddings = {space: random.normal(size=(6, width)).astype(np.float32) for space, width in widths.items()}
        scored = ScoredCandidates(items, embeddings, {"image": 0.5, "text": 0.5})
        assert views.num_units == memory.num_units
        np.testing.assert_array_equal(cast_votes(views, scored, 2), cast_votes(memory, scored, 2))
        wanted = random.integers(0, count, 8)
        for space in widths:
            np.testing.assert_array_equal(views.vectors_PE[space][wanted], memory.vectors_PE[space][wanted])
    gone = [i for i in range(count) if any(rows[i] is None for rows in vectors.values())]
    assert problems == [(10 * i, "gone") for i in gone]


def test_a_file_without_rows_or_without_vectors_is_read_back(tmp_path):
    write(tmp_path / "none.arrow", {"image": []}, [])
    views, problems = read_views(tmp_path / "none.arrow", ["image"], LABELS, False, "key")
    assert views.num_units == 0 and problems == []
    write(tmp_path / "blind.arrow", {"image": [None, None]}, [0, 1])
    views, problems = read_views(tmp_path / "blind.arrow", ["image"], LABELS, False, "key")
    assert views.num_units == 2 and not views.usable_P["image"].any() and len(problems) == 2


def test_a_file_of_another_key_is_not_read(tmp_path):
    write(tmp_path / "v.arrow", {"image": [np.ones(2, np.int16)]}, [0])
    assert read_views(tmp_path / "v.arrow", ["image"], LABELS, False, "another") is None


def test_an_engine_that_changes_its_dimension_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="embedding dimension"):
        write(tmp_path / "v.arrow", {"image": [np.ones(2, np.int16), np.ones(3, np.int16)]}, [0, 0])
    assert list(tmp_path.iterdir()) == []


SHARD = """
import sys
import numpy as np
from spti_ray.bench.driver_memory import peak_kib
from spti_ray.config import DataConfig
from spti_ray.private.shard import Shard
from spti_ray.types import Candidate, Candidates, ScoredCandidates

table = np.random.default_rng(0).normal(size=(256, 512)).astype(np.float32)
shard = Shard(
    DataConfig(path=sys.argv[1]), shard_id=0, num_shards=1, label_names=("all",), spaces=["image"],
    cache=sys.argv[2], fingerprint="f", batch_size=64,
)
shard.prepare(lambda images: table[[int(image[0, 0, 0]) for image in images]])
items = Candidates(tuple(Candidate(f"g00-{i:05d}", "t", "all", 0) for i in range(1000)))
scored = ScoredCandidates(items, {"image": table[np.arange(1000) % 256]}, {"image": 1.0})
shard.compare(0, scored.only([i % 2 == 0 for i in range(1000)]), 1)
assert shard.vote("r", 0, scored, 1).counts_K.sum() == int(sys.argv[3])
print(peak_kib())
"""


def peak_kib(tmp_path, records):
    """Peak memory of a process that embeds and votes with this many records."""
    images = []
    for value in range(256):
        buffer = io.BytesIO()
        Image.new("L", (1, 1), value).save(buffer, "PNG")
        images.append(buffer.getvalue())
    file = tmp_path / f"{records}.parquet"
    pq.write_table(pa.table({"image": [images[i % 256] for i in range(records)]}), file, row_group_size=500)
    command = [sys.executable, "-c", SHARD, str(file), str(tmp_path / f"views-{records}"), str(records)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


def test_twenty_times_the_records_need_no_more_memory(tmp_path):
    # The smaller set already fills the voting's blocks.
    assert peak_kib(tmp_path, 30_000) < 1.1 * peak_kib(tmp_path, 1_500)
