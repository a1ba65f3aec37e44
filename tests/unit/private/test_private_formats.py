"""Every format, by its own writer: each record once, upright, with label and group; memory and errors as promised."""

import random
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest

from spti_ray.config import DataConfig
from spti_ray.private.dataset import load_shard
from spti_ray.private.kinds import DataError
from spti_ray.private.shard_reading import shard_of_group
from spti_ray.private.source import describe, fingerprint
from tests.unit.private.formats import ROWS, WITH_COLUMNS, WRITERS, turned

ALL = ("all",)
CANARY = "CANARY-7f3a"
IMAGES = [(label, turned(value), group) for label, value, group in ROWS]


def written(name: str, root: Path, rows=IMAGES) -> DataConfig:
    root.mkdir(exist_ok=True)
    columns = {"label_column": "label", "group_column": "user"} if name in WITH_COLUMNS else {}
    return DataConfig(path=WRITERS[name](root, rows), **columns)


def value_of(record) -> int:
    """Of an upright image."""
    assert record.image.shape == (8, 4, 3) and not record.image[4:].any()
    return int(record.image[0, 0, 0])


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("num_shards", [1, 3, 9])
def test_every_record_is_in_one_shard_upright_and_with_its_label(name, num_shards, tmp_path):
    data = written(name, tmp_path / "data")
    shards = [list(load_shard(data, "record", shard, num_shards, ("a", "b"))) for shard in range(num_shards)]
    records = [record for shard in shards for record in shard]
    assert len({record.index for record in records}) == len(records) == len(ROWS)
    assert all([r.index for r in shard] == sorted(r.index for r in shard) for shard in shards)
    found = sorted((record.label, value_of(record)) for record in records if record.label is not None)
    assert found == sorted((label, value) for label, value, _ in ROWS if label != "c")
    assert [record.image for record in records if record.label is None] == [None, None]


@pytest.mark.parametrize("name", WRITERS)
def test_the_order_of_records_does_not_depend_on_the_shards(name, tmp_path):
    data = written(name, tmp_path / "data")
    in_order = []
    for num_shards in (1, 4):
        records = [r for shard in range(num_shards) for r in load_shard(data, "record", shard, num_shards, ALL)]
        in_order.append([value_of(record) for record in sorted(records, key=lambda record: record.index)])
    assert in_order[0] == in_order[1]


@pytest.mark.parametrize("name", WITH_COLUMNS)
def test_a_group_is_in_one_shard(name, tmp_path):
    data = written(name, tmp_path / "data")
    seen = []
    for shard in range(3):
        for record in load_shard(data, "group", shard, 3, ALL):
            assert shard_of_group(record.group or "", 3) == shard
            seen.append((value_of(record), record.group))
    assert sorted(seen) == sorted((value, group) for _, value, group in ROWS)


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in WITH_COLUMNS])
def test_what_has_no_columns_has_no_groups(name, tmp_path):
    data = written(name, tmp_path / "data").model_copy(update={"group_column": "user"})
    with pytest.raises(DataError, match="privacy.unit: group needs data.group_column of Parquet, tar or Arrow files"):
        describe(data, "group")


@pytest.mark.parametrize("name", WRITERS)
def test_the_fingerprint_notices_a_rewritten_file(name, tmp_path):
    before = fingerprint(describe(written(name, tmp_path / "data"), label_names=("a",)))
    data = DataConfig(path=describe(written(name, tmp_path / "other")).location)
    assert fingerprint(describe(data)) == fingerprint(describe(data)) != before


@pytest.mark.parametrize("name", WRITERS)
def test_reading_holds_no_more_of_many_records_than_of_few(name, tmp_path):
    """Of Python and Arrow together; paths and a zip file's directory take some hundred bytes a record."""
    noise = random.Random(0)
    peaks = []
    for num_records in (40, 400):
        rows = [("a", noise.randbytes(30_000), f"u{i % 5}") for i in range(num_records)]
        data = written(name, tmp_path / str(num_records), rows)
        list(load_shard(data, "record", 0, 40, ALL))  # what is imported and cached once
        tracemalloc.start()
        held = 0
        for record in load_shard(data, "record", 0, 1, ALL):
            assert record.problem == "not an image"
            held = max(held, pa.total_allocated_bytes())
        peaks.append(tracemalloc.get_traced_memory()[1] + held)
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000  # a tenth of what the other 360 have in them


@pytest.mark.parametrize("name", WRITERS)
def test_damage_is_told_without_content_or_names(name, tmp_path):
    rows = [(CANARY, CANARY.encode() * 500, CANARY) for _ in range(20)]
    data = written(name, tmp_path / "data", rows)
    for file in (tmp_path / "data").rglob("*"):
        if file.suffix in (".zip", ".mdb", ".parquet", ".tar", ".arrow"):
            raw = file.read_bytes()
            file.write_bytes(raw[: len(raw) // 2])
    try:
        records = list(load_shard(data, "record", 0, 1, ALL))
    except DataError as error:
        assert CANARY not in str(error) and "\n" not in str(error)
        assert error.__context__ is None or CANARY not in str(error.__context__)
    else:
        assert name.startswith(("folder", "dicom"))  # nothing of it was damaged
        assert {record.problem for record in records} == {"not an image"}
