"""LMDB databases as the `lmdb` package writes them: read-only, mapped, in the order of their keys."""

import sys
from concurrent.futures import ThreadPoolExecutor

import lmdb
import pytest

from spti_ray.config import DataConfig
from spti_ray.private import file_records
from spti_ray.private.dataset import load_shard
from spti_ray.private.encoded import FILE_TOO_LARGE
from spti_ray.private.kinds import DataError
from spti_ray.private.source import describe, fingerprint
from tests.unit.private.conftest import png, put, values

ALL = ("all",)
CANARY = "CANARY-7f3a"


def write(path, images: dict[str, bytes], subdir: bool = True) -> str:
    if subdir:
        path.mkdir(parents=True, exist_ok=True)
    environment = lmdb.open(str(path), map_size=2**26, subdir=subdir)
    with environment.begin(write=True) as transaction:
        for key, image in images.items():
            transaction.put(key.encode(), image)
    environment.close()
    return str(path)


@pytest.fixture
def database(tmp_path) -> DataConfig:
    return DataConfig(path=write(tmp_path / "d", {f"{CANARY}-{i:03d}": png(i) for i in range(50)}))


@pytest.mark.parametrize("subdir", [True, False])
def test_records_are_in_the_order_of_their_keys(tmp_path, subdir):
    path = write(tmp_path / "d.lmdb", {"c": png(30), "a": png(10), "b": png(20)}, subdir)
    data = DataConfig(path=path)
    assert describe(data).kind == "lmdb"
    assert values(load_shard(data, "record", 0, 1, ALL)) == [10, 20, 30]
    assert values(load_shard(data, "record", 2, 3, ALL)) == [30]


def test_nothing_is_written_beside_it_and_its_lock_is_no_record(database, tmp_path):
    before = fingerprint(describe(database))
    (tmp_path / "d" / "lock.mdb").write_bytes(b"another reader was here")
    names = sorted(file.name for file in (tmp_path / "d").iterdir())
    assert values(load_shard(database, "record", 0, 1, ALL)) == list(range(50))
    assert sorted(file.name for file in (tmp_path / "d").iterdir()) == names == ["data.mdb", "lock.mdb"]
    assert (tmp_path / "d" / "lock.mdb").read_bytes() == b"another reader was here"
    assert fingerprint(describe(database)) == before


def test_shards_of_one_process_read_it_side_by_side(database):
    """LMDB itself refuses to open a database twice in a process."""
    first, second = (load_shard(database, "record", shard, 2, ALL) for shard in range(2))
    next(first)
    assert values(second) == list(range(25, 50)) and values(first) == list(range(1, 25))
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda shard: values(load_shard(database, "record", shard, 20, ALL)), range(20))
        assert [value for shard in found for value in shard] == list(range(50))


def test_a_value_that_is_too_large_or_no_image_does_not_stop_the_others(tmp_path, monkeypatch):
    data = DataConfig(path=write(tmp_path / "d", {"__len__": b"3", "a": png(10), "b": png(20) + bytes(1000)}))
    monkeypatch.setattr(file_records, "max_file_bytes", lambda max_pixels: 500)
    found = [record.problem for record in load_shard(data, "record", 0, 1, ALL)]
    assert found == ["not an image", None, FILE_TOO_LARGE]


def refusal(data: DataConfig) -> str:
    with pytest.raises(DataError, match="data.path") as caught:
        describe(data)
    assert CANARY not in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_database_that_is_cut_short_is_refused_and_ends_no_process(database, tmp_path):
    file = tmp_path / "d" / "data.mdb"
    file.write_bytes(file.read_bytes()[:-4096])
    assert "not an LMDB database that can be read" in refusal(database)


def test_a_database_with_fewer_records_than_it_says_is_an_error(database, monkeypatch):
    monkeypatch.setattr(file_records.lmdbs, "num_values", lambda file: 60)
    with pytest.raises(DataError, match="an LMDB database has fewer records than it says") as caught:
        list(load_shard(database, "record", 0, 1, ALL))
    assert CANARY not in str(caught.value) and caught.value.__context__ is None


def test_what_can_not_be_read_is_refused_before_a_model_loads(tmp_path, database, monkeypatch):
    assert "no records" in refusal(DataConfig(path=write(tmp_path / "none", {})))
    (tmp_path / "data.mdb").write_bytes(CANARY.encode() * 5000)
    assert "not an LMDB database that can be read" in refusal(DataConfig(path=str(tmp_path / "data.mdb")))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert "pip install 'spti-ray[lmdb]'" in refusal(database)


def test_one_in_a_bucket_is_refused(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    url = s3.new_url()
    put(url, "data.mdb", b"database")
    assert "copy it to a local disk" in refusal(DataConfig(path=url))
