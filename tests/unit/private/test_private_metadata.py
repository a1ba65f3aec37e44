"""A folder's metadata.jsonl or metadata.csv: labels and groups of its images, and no more."""

import csv
import io
import json

import datasets
import pytest
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import storage_path
from spti_ray.private import metadata
from spti_ray.private.dataset import load_shard
from spti_ray.private.kinds import DataError
from spti_ray.private.record import MISSING_GROUP, UNLISTED_LABEL
from spti_ray.private.shard_reading import shard_of_group
from spti_ray.private.source import describe, fingerprint
from tests.unit.private.conftest import png, values

ALL = ("all",)
CANARY = "CANARY-7f3a"
ROWS = [
    {"file_name": "1.png", "label": "cat", "user": 7, "note": CANARY},
    {"file_name": "x/2.png", "label": "dog", "user": 8},
    {"file_name": "x/3.png", "label": "", "user": None},
    {"file_name": f"{CANARY}.png", "label": "cat", "user": 7},
]


def jsonl(rows) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def table(rows) -> bytes:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, ["file_name", "label", "user", "note"])
    writer.writeheader()
    writer.writerows(rows)
    return lines.getvalue().encode("utf-8-sig")  # as spreadsheets write it


@pytest.fixture(params=["metadata.jsonl", "metadata.csv"])
def data(place, request) -> DataConfig:
    """Four images, of which the last has no row."""
    path, write = place
    for i, name in enumerate(("1.png", "x/2.png", "x/3.png", "x/4.png")):
        write(name, png(10 * i))
    write(request.param, {"metadata.jsonl": jsonl, "metadata.csv": table}[request.param](ROWS))
    return DataConfig(path=path, label_column="label", group_column="user")


@pytest.mark.parametrize("num_shards", [1, 3, 5])
def test_labels_are_those_of_the_column(data, num_shards):
    assert describe(data, label_names=("cat", "dog")).kind == "folder"
    shards = [list(load_shard(data, "record", shard, num_shards, ("cat", "dog"))) for shard in range(num_shards)]
    records = [record for shard in shards for record in shard]
    assert [(record.index, record.label) for record in records] == [(0, "cat"), (1, "dog"), (2, None), (3, None)]
    assert [record.problem for record in records] == [None, None, UNLISTED_LABEL, UNLISTED_LABEL]


def test_a_group_is_in_one_shard_and_an_image_without_one_casts_no_vote(data):
    describe(data, "group")
    shards = [list(load_shard(data, "group", shard, 3, ALL)) for shard in range(3)]
    for number, shard in enumerate(shards):
        assert all(shard_of_group(record.group or "", 3) == number for record in shard)
    records = sorted((record for shard in shards for record in shard), key=lambda record: record.index)
    assert [(record.index, record.group) for record in records] == [(0, "7"), (1, "8"), (2, None), (3, None)]
    assert [record.problem for record in records] == [None, None, MISSING_GROUP, MISSING_GROUP]


def test_without_a_label_column_labels_are_the_first_folders(data):
    by_folder = data.model_copy(update={"label_column": None})
    assert [record.label for record in load_shard(by_folder, "record", 0, 1, ("x", "y"))] == [None, "x", "x", "x"]


def test_an_image_has_one_group_whatever_the_rows_say(place):
    """Whichever of two rows counted would be one that another record may have lost."""
    path, write = place
    write("1.png", png(10))
    data = DataConfig(path=path, group_column="user")
    write("metadata.jsonl", jsonl([{"file_name": "1.png", "user": user, "n": i} for i, user in enumerate("uu")]))
    assert [record.group for shard in range(5) for record in load_shard(data, "group", shard, 5, ALL)] == ["u"]
    write("metadata.jsonl", jsonl([{"file_name": "1.png", "user": f"{CANARY}{i}"} for i in range(20)]))
    with pytest.raises(DataError, match="two rows of metadata.jsonl give one image different columns") as caught:
        list(load_shard(data, "group", 0, 5, ALL))
    assert CANARY not in str(caught.value) and "\n" not in str(caught.value) and caught.value.__context__ is None


def test_a_row_that_can_not_be_read_does_not_stop_the_others(place):
    path, write = place
    write("1.png", png(10))
    bad = [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 10_000, json.dumps({"file_name": ["1.png"], "label": "a"}).encode()]
    write("metadata.jsonl", b"\n".join([jsonl([{"file_name": "1.png", "label": "a"}]), *bad]))
    (record,) = load_shard(DataConfig(path=path, label_column="label"), "record", 0, 1, ("a", "b"))
    assert record.label == "a" and record.problem is None


def labels_of(place, name: str, content: bytes, count: int = 6) -> list[str | None]:
    path, write = place
    for i in range(count):
        write(f"i{i}.png", png(10 * i))
    write(name, content)
    data = DataConfig(path=path, label_column="label")
    describe(data, label_names=("a", "b"))
    return [record.label for record in load_shard(data, "record", 0, 1, ("a", "b"))]


@pytest.mark.parametrize(
    "row",
    [b'i2.png,"a', b'i2.png,a,"', b'"i2.png,a', b'i2.png,"a""', b'i2.png,"\xff,a', b'i2.png,"' + b"x" * 200_000],
    ids=range(6),
)
def test_an_unbalanced_quote_costs_its_row_the_columns_and_no_other(tmp_path_factory, row):
    """Also in a column that nobody uses."""
    rows = [b"file_name,label,note", *(b"i%d.png,a,n" % i for i in range(6))]
    rows[3] = row
    place = local(tmp_path_factory)
    assert labels_of(place, "metadata.csv", b"\n".join(rows)) == ["a", "a", None, "a", "a", "a"]


@pytest.mark.parametrize(
    "cell", [b"x" * 200_000, b'"' + b"x," * 100_000 + b'"', b"x\0y", b"x\ry", "x\u2028y\x85z".encode()]
)
def test_a_cell_may_be_long_and_hold_what_ends_lines_elsewhere(tmp_path_factory, cell):
    limit = csv.field_size_limit()
    rows = b"\n".join([b"file_name,note,label", b"i0.png," + cell + b",a", b"i1.png,n,b"])
    assert labels_of(local(tmp_path_factory), "metadata.csv", rows, 2) == ["a", "b"]
    assert csv.field_size_limit() == limit, "a setting of the whole process"


def test_cells_are_what_pythons_csv_reads_of_a_line():
    quoted = 'i0.png,"a ""note"", with a comma",b "c",d"e,"f"g'
    assert (
        metadata.split(quoted)
        == next(csv.reader([quoted]))
        == ["i0.png", 'a "note", with a comma', 'b "c"', 'd"e', "fg"]
    )


def test_lines_may_end_as_on_windows_and_a_name_be_no_utf8(tmp_path_factory):
    rows = b"\xef\xbb\xbffile_name,label\r\n\xff.png,b\r\ni0.png,a\r\ni1.png,b"
    assert labels_of(local(tmp_path_factory), "metadata.csv", rows, 2) == ["a", "b"]


@pytest.mark.parametrize(
    "row",
    [
        b'{"file_name": "i2.png", "label": "a", "note": ' + b"[" * 100_000,
        b'{"file_name": "i2.png", "label": "a", "note": ' + b'{"a":' * 100_000,
        b'{"file_name": "i2.png", "label": "a", "note": ' + b"9" * 5_000 + b"}",
        b'{"file_name": "i2.png", "label": NaN}',
        b'{"file_name": "i2.png", "label": 1e999}',
        b'{"file_name": "i2.png", "label": {"a": "a"}}',
        b'{"file_name": "i2.png", "lab',
    ],
    ids=range(7),
)
def test_a_row_of_jsonl_that_is_no_row_costs_its_image_the_columns_and_no_other(tmp_path_factory, row):
    rows = [b'{"file_name": "i%d.png", "label": "a", "note": "\xe2\x80\xa8\\n"}' % i for i in range(6)]
    rows[2] = row
    assert labels_of(local(tmp_path_factory), "metadata.jsonl", b"\n".join(rows)) == ["a", "a", None, "a", "a", "a"]


@pytest.mark.parametrize("first", [b'{"file_name": "i0.png"}', b'{"label": "a"}', b"{", b""])
def test_the_first_row_does_not_say_which_columns_there_are(tmp_path_factory, first):
    rows = [first, *(b'{"file_name": "i%d.png", "label": "b"}' % i for i in range(1, 3))]
    assert labels_of(local(tmp_path_factory), "metadata.jsonl", b"\n".join(rows), 3) == [None, "b", "b"]


def local(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return str(root), lambda name, content: (root / name).write_bytes(content)


def test_the_fingerprint_notices_another_label(data, place):
    before = fingerprint(describe(data))
    assert fingerprint(describe(data)) == before
    (name,) = {file.name for file in storage_path(data.path).files(("metadata.jsonl", "metadata.csv"))}
    place[1](name, {"metadata.jsonl": jsonl, "metadata.csv": table}[name](ROWS[:1]))
    assert fingerprint(describe(data)) != before


def refusal(data: DataConfig, unit="record", labels=ALL) -> str:
    with pytest.raises(DataError) as caught:
        describe(data, unit, labels)
    assert CANARY not in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_planning_names_the_field_and_the_remedy(data, place):
    message = refusal(data.model_copy(update={"label_column": "Label"}), labels=("cat", "dog"))
    assert "data.label_column: 'Label' does not fit" in message and "'label'" not in message
    message = refusal(data.model_copy(update={"group_column": "patient"}), "group")
    assert "data.group_column: 'patient' does not fit" in message and "user" not in message
    assert "data.group_column: must be set" in refusal(data.model_copy(update={"group_column": None}), "group")
    for name in ("metadata.jsonl", "metadata.csv"):
        place[1](name, jsonl(ROWS))
    assert "has both metadata.jsonl and metadata.csv" in refusal(data)


def test_a_file_without_names_of_images_is_refused(place):
    path, write = place
    write("1.png", png(10))
    write("metadata.jsonl", jsonl([{"file": CANARY}]))
    assert "has no column 'file_name'" in refusal(DataConfig(path=path))


def test_what_hugging_face_reads_as_an_imagefolder_is_read_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    rows = [{"file_name": f"{i % 2}/{i}.png", "kind": "ab"[i % 2]} for i in range(6)]
    for i, row in enumerate(rows):
        (tmp_path / "d" / row["file_name"]).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (10 * i,) * 3).save(tmp_path / "d" / row["file_name"])
    (tmp_path / "d" / "metadata.jsonl").write_bytes(jsonl(rows))
    theirs = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "d"), cache_dir=str(tmp_path / "c"))["train"]
    ours = list(load_shard(DataConfig(path=str(tmp_path / "d"), label_column="kind"), "record", 0, 1, ()))
    found = {value: record.label for value, record in zip(values(ours), ours, strict=True)}
    assert found == {row["image"].getpixel((0, 0))[0]: row["kind"] for row in theirs}
