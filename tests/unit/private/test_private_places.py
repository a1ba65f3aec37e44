"""Several Parquet files, here and in object storage, are one data set."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.config import DataConfig
from spti_ray.private import listing
from spti_ray.private.dataset import load_shard
from spti_ray.private.encoded import UNREADABLE_FILE
from spti_ray.private.kinds import DataError
from spti_ray.private.source import describe, fingerprint
from tests.unit.private.conftest import png, put, values

ALL = ("all",)
CANARY = "CANARY-7f3a"


def parquet_bytes(values):
    buffer = io.BytesIO()
    table = pa.table({"image": [png(v) for v in values], "user": [f"u{v % 3}" for v in values]})
    pq.write_table(table, buffer, row_group_size=2)
    return buffer.getvalue()


FILES = {"b/two.parquet": [30, 40, 50], "a.parquet": [10, 20], "c.parquet": [], "d.parquet": [60]}
IN_ORDER = [10, 20, 30, 40, 50, 60]


@pytest.fixture
def data(place):
    path, write = place
    for name, numbers in FILES.items():
        write(name, parquet_bytes(numbers))
    write("_SUCCESS", b"")
    write(".hidden/x.parquet", parquet_bytes([99]))
    return DataConfig(path=path, group_column="user")


@pytest.mark.parametrize("num_shards", [1, 2, 5, 9])
def test_records_are_the_rows_of_all_files_in_the_order_of_their_paths(data, num_shards):
    assert describe(data).kind == "parquet"
    shards = [list(load_shard(data, "record", shard, num_shards, ALL)) for shard in range(num_shards)]
    assert [value for shard in shards for value in values(shard)] == IN_ORDER
    assert [record.index for shard in shards for record in shard] == list(range(6))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_group_that_spans_files_is_in_one_shard(data):
    shards = [list(load_shard(data, "group", shard, 3, ALL)) for shard in range(3)]
    assert sorted(value for shard in shards for value in values(shard)) == IN_ORDER
    groups = [{record.group for record in shard} for shard in shards]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 3


def test_one_file_is_a_data_set_too(data):
    one = data.model_copy(update={"path": f"{data.path}/b/two.parquet"})
    assert values(load_shard(one, "record", 0, 1, ALL)) == [30, 40, 50]


def test_the_fingerprint_notices_a_new_and_a_rewritten_file(data, place):
    seen = [fingerprint(describe(data))]
    assert fingerprint(describe(data)) == seen[0]
    place[1]("z.parquet", parquet_bytes([70]))
    seen.append(fingerprint(describe(data)))
    place[1]("z.parquet", parquet_bytes([70, 80, 90]))
    seen.append(fingerprint(describe(data)))
    assert len(set(seen)) == 3


def test_what_is_not_there_is_refused_in_one_line(data):
    for path in ("/nowhere", "/nowhere.parquet"):
        with pytest.raises(DataError, match="data.path") as caught:
            describe(data.model_copy(update={"path": data.path + path}))
        assert "\n" not in str(caught.value)


def test_a_later_file_without_the_column_is_refused_at_planning(data, place):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"picture": [CANARY]}), buffer)
    place[1]("e.parquet", buffer.getvalue())
    with pytest.raises(DataError, match=r"data.image_column: the Parquet file has no column 'image'") as caught:
        describe(data)
    assert CANARY not in str(caught.value)


def test_a_store_that_fails_is_reported_without_its_answer(data, monkeypatch):
    def broken(location):
        raise OSError(CANARY)

    monkeypatch.setattr(listing, "storage_path", broken)
    with pytest.raises(DataError, match=r"can't be reached \(OSError\)") as caught:
        describe(data.model_copy(update={"path": "s3://bucket/data"}))
    assert CANARY not in str(caught.value)


def test_paths_in_a_remote_table_are_not_followed(s3, monkeypatch, tmp_path):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "secret.png").write_bytes(png(1))
    buffer = io.BytesIO()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": None, "path": str(tmp_path / "secret.png")}], kind)
    pq.write_table(pa.table({"image": rows}), buffer)
    url = s3.new_url()
    put(url, "p.parquet", buffer.getvalue())
    (record,) = load_shard(DataConfig(path=url), "record", 0, 1, ALL)
    assert record.problem == UNREADABLE_FILE
