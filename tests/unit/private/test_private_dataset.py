"""The data set's checks at planning, its division into shards, and what of a file is read."""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.private import encoded
from spti_ray.private.dataset import load_shard
from spti_ray.private.kinds import DataError
from spti_ray.private.record import MISSING_GROUP, UNLISTED_LABEL
from spti_ray.private.shard_reading import shard_of_group, shard_rows
from spti_ray.private.source import describe, fingerprint

ALL = ("all",)
CANARY = "CANARY-7f3a"


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def value_of(record) -> int | None:
    return None if record.image is None else int(record.image[0, 0, 0])


def write_parquet(path, columns: dict, row_group_size: int = 3, image_type=None) -> str:
    columns = dict(columns)
    if image_type is not None:
        columns["image"] = pa.array(columns["image"], image_type)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return str(path)


def load_all(data: DataConfig, unit="record", num_shards=1, labels=ALL) -> list:
    return [record for s in range(num_shards) for record in load_shard(data, unit, s, num_shards, labels)]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for i, name in enumerate(["b/x.png", "a/y.PNG", "a/deep/z.jpeg", "top.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(10 * i))
    (root / "a" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "h.png").write_bytes(png(99))
    return root


def test_bundled_stickers_can_be_described_and_read():
    data = DataConfig(path="bundled:stickers", label_column="label")
    assert describe(data, "record", ("food-drink", "activities")).kind == "parquet"
    first = next(load_shard(data, "record", 0, 600, ALL))
    assert first.image is not None and first.image.shape == (128, 128, 3)


def test_folder_records_are_sorted_by_relative_path(folder):
    records = load_all(DataConfig(path=str(folder)))
    assert [value_of(r) for r in records] == [20, 10, 0, 30]  # a/deep/z.jpeg a/y.PNG b/x.png top.png
    assert [r.index for r in records] == [0, 1, 2, 3]
    assert {r.label for r in records} == {"all"}


def test_folder_labels_are_first_sub_folders(folder):
    records = load_all(DataConfig(path=str(folder)), labels=("a", "b"))
    assert [r.label for r in records] == ["a", "a", "b", None]
    assert [r.problem for r in records] == [None, None, None, UNLISTED_LABEL]
    assert records[3].image is None


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7, 20])
def test_shards_hold_each_record_once(tmp_path, num_shards):
    path = write_parquet(tmp_path / "p.parquet", {"image": [png(i) for i in range(11)]})
    data = DataConfig(path=path)
    records = load_all(data, num_shards=num_shards)
    assert [r.index for r in records] == list(range(11))
    assert [value_of(r) for r in records] == list(range(11))
    assert sum(len(shard_rows(11, s, num_shards)) for s in range(num_shards)) == 11


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
def test_a_group_never_spans_shards(tmp_path, num_shards):
    users = [f"user{i % 5}" for i in range(23)]
    path = write_parquet(tmp_path / "p.parquet", {"image": [png(i) for i in range(23)], "user": users})
    data = DataConfig(path=path, group_column="user")
    seen = []
    for shard_id in range(num_shards):
        for record in load_shard(data, "group", shard_id, num_shards, ALL):
            assert shard_of_group(record.group, num_shards) == shard_id
            assert record.group == users[record.index] and value_of(record) == record.index
            seen.append(record.index)
    assert sorted(seen) == list(range(23))


def test_a_record_without_group_casts_no_vote(tmp_path):
    columns = {"image": [png(0), png(1), png(2)], "user": [None, 7.0, float("nan")]}
    path = write_parquet(tmp_path / "p.parquet", columns)
    records = load_all(DataConfig(path=path, group_column="user"), unit="group", num_shards=3)
    by_index = {r.index: (r.group, r.problem) for r in records}
    assert by_index == {0: (None, MISSING_GROUP), 1: ("7", None), 2: (None, MISSING_GROUP)}


def test_struct_layout_reads_bytes_and_else_the_path_beside_the_file(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x.png").write_bytes(png(5))
    secret = tmp_path.parent / f"{tmp_path.name}-outside.png"
    secret.write_bytes(png(6))
    images = [
        {"bytes": png(1), "path": "missing.png"},
        {"bytes": None, "path": "inner/x.png"},
        {"bytes": None, "path": "missing.png"},
        {"bytes": None, "path": f"../{secret.name}"},
        {"bytes": None, "path": str(secret)},
        {"bytes": None, "path": None},
        {"bytes": None, "path": "a\0b"},
        None,
        {"bytes": b"", "path": None},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    path = write_parquet(tmp_path / "p.parquet", {"image": images}, image_type=kind)
    records = load_all(DataConfig(path=path))
    assert [value_of(r) for r in records] == [1, 5] + [None] * 7
    assert [r.problem for r in records[2:]] == ["unreadable file"] * 3 + [
        "no image",
        "unreadable file",
        "no image",
        "empty file",
    ]


def test_labels_of_parquet_may_be_integers_or_dictionaries(tmp_path):
    columns = {"image": [png(i) for i in range(4)], "n": [1, 2, None, 3]}
    columns["d"] = pa.array(["x", "y", None, "x"]).dictionary_encode()
    path = write_parquet(tmp_path / "p.parquet", columns)
    assert [r.label for r in load_all(DataConfig(path=path, label_column="n"), labels=("1", "2"))] == [
        "1",
        "2",
        None,
        None,
    ]
    assert [r.label for r in load_all(DataConfig(path=path, label_column="d"), labels=("x",))] == [
        "x",
        None,
        None,
        "x",
    ]


def test_only_configured_columns_are_read(tmp_path, monkeypatch):
    columns = {"image": [png(0)], "label": ["x"], "name": [CANARY], "source": [CANARY]}
    data = DataConfig(path=write_parquet(tmp_path / "p.parquet", columns), label_column="label")
    asked = []
    original = pq.ParquetFile.iter_batches

    def spy(self, *args, **kwargs):
        asked.append(kwargs["columns"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    load_all(data)
    load_all(data, labels=("x", "y"))
    assert asked == [["image"], ["image", "label"]]


def test_only_the_row_groups_of_the_shard_are_read(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "p.parquet", {"image": [png(i) for i in range(12)]}, row_group_size=2)
    read = []
    original = pq.ParquetFile.iter_batches

    def spy(self, *args, **kwargs):
        read.extend(kwargs["row_groups"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    list(load_shard(DataConfig(path=path), "record", 1, 3, ALL))
    assert read == [2, 3]


def test_a_bad_image_does_not_stop_the_others(folder):
    (folder / "a" / "bad.png").write_bytes(b"")
    (folder / "a" / "worse.gif").write_bytes(b"GIF89a" + bytes(4))
    (folder / "a" / "dir.png").mkdir()
    os.symlink("/nonexistent", folder / "a" / "link.png")
    os.mkfifo(folder / "a" / "pipe.png")
    records = load_all(DataConfig(path=str(folder)))
    assert sum(r.image is not None for r in records) == 4
    assert sorted(r.problem for r in records if r.problem) == [
        "empty file",
        "not an image",
        "unreadable file",
        "unreadable file",
    ]


def test_max_pixels_comes_from_the_configuration(folder):
    records = load_all(DataConfig(path=str(folder), max_pixels=15))
    assert {r.problem for r in records} == {"too many pixels"}


def test_a_file_too_large_for_its_pixel_limit_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(encoded, "_MIN_FILE_LIMIT", 1)
    records = load_all(DataConfig(path=str(folder), max_pixels=1))
    assert {r.problem for r in records} == {encoded.FILE_TOO_LARGE}


def error_of(data: DataConfig, unit="record", labels=ALL) -> str:
    with pytest.raises(DataError) as caught:
        describe(data, unit, labels)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_planning_errors_name_the_field_and_the_remedy(tmp_path, folder):
    path = write_parquet(tmp_path / "p.parquet", {"image": [png(0)], "Label": ["x"], "number": [7]})
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "readme.md").write_text("no image")
    (tmp_path / "not.parquet").write_bytes(CANARY.encode() * 10)
    assert "data.path" in error_of(DataConfig(path=str(tmp_path / "nowhere")))
    assert "bundled data: stickers" in error_of(DataConfig(path="bundled:sticker"))
    assert "ftp:// is none of s3://" in error_of(DataConfig(path="ftp://host/x"))
    message = error_of(DataConfig(path=f"s3://key:{CANARY}@bucket/x"))
    assert message.startswith("data.path s3://bucket/x: credentials") and CANARY not in message
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "a.png").write_bytes(png(0))
    write_parquet(mixed / "a.parquet", {"image": [png(0)]})
    assert "images and Parquet files" in error_of(DataConfig(path=str(mixed)))
    assert "no image file" in error_of(DataConfig(path=str(empty)))
    assert "is a single image" in error_of(DataConfig(path=str(folder / "top.png")))
    message = error_of(DataConfig(path=str(tmp_path / "not.parquet")))
    assert "not a Parquet file" in message and CANARY not in message
    message = error_of(DataConfig(path=path, image_column="images"))
    assert "data.image_column" in message and "'image'" in message
    message = error_of(DataConfig(path=path, label_column="label"), labels=("x", "y"))
    assert "data.label_column" in message and "'Label'" in message
    assert "data.label_column" in error_of(DataConfig(path=path), labels=("x", "y"))
    assert "data.group_column" in error_of(DataConfig(path=path, group_column="patient"), unit="group")
    assert "must hold encoded bytes" in error_of(DataConfig(path=path, image_column="number"))
    assert "Parquet" in error_of(DataConfig(path=str(folder), group_column="user"), unit="group")
    twice = pa.Table.from_arrays([pa.array([png(0)])] * 2, names=["image", "image"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    assert "several columns 'image'" in error_of(DataConfig(path=str(tmp_path / "twice.parquet")))
    none = write_parquet(tmp_path / "none.parquet", {"image": pa.array([], pa.binary())})
    assert "no rows" in error_of(DataConfig(path=none))


def test_a_damaged_parquet_file_fails_without_its_content(tmp_path):
    images = [np.random.default_rng(i).bytes(5000) + CANARY.encode() for i in range(20)]
    path = write_parquet(tmp_path / "p.parquet", {"image": images})
    raw = bytearray((tmp_path / "p.parquet").read_bytes())
    raw[4:60] = b"\xff" * 56
    (tmp_path / "p.parquet").write_bytes(raw)
    with pytest.raises(DataError) as caught:
        load_all(DataConfig(path=path))
    assert CANARY not in str(caught.value) and caught.value.__context__ is None


def test_records_do_not_print_or_pickle(folder):
    import pickle

    record = next(load_shard(DataConfig(path=str(folder)), "record", 0, 1, ("a", "b")))
    assert repr(record) == str(record) == "<Record: private>"
    with pytest.raises(TypeError, match="private"):
        pickle.dumps(record)


def test_the_fingerprint_notices_every_change_of_a_folder_and_tells_no_name(tmp_path):
    folder = tmp_path / "images" / "sub"
    folder.mkdir(parents=True)
    (folder / "canary.png").write_bytes(b"one")
    source = describe(DataConfig(path=str(tmp_path / "images")))
    seen = [fingerprint(source)]
    assert fingerprint(source) == seen[0] and "canary" not in seen[0]
    (folder / "canary.png").write_bytes(b"three")
    seen.append(fingerprint(source))
    os.utime(folder / "canary.png", ns=(1, 1))
    seen.append(fingerprint(source))
    (folder / "new.png").write_bytes(b"two")
    seen.append(fingerprint(source))
    (folder / "dangling.png").symlink_to(tmp_path / "nowhere")
    seen.append(fingerprint(source))  # whatever the loader makes of the link, it must not raise with its name
    assert len(set(seen[:4])) == 4
