"""What `datasets` saves, here and in object storage, and columns of paths: each row once, nothing else opened."""

import io
import json
import struct
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.config import DataConfig
from spti_ray.private.dataset import load_shard
from spti_ray.private.encoded import FILE_TOO_LARGE, MISSING_IMAGE, UNREADABLE_FILE
from spti_ray.private.kinds import DataError
from spti_ray.private.record import UNLISTED_LABEL
from spti_ray.private.source import describe, fingerprint
from spti_ray.private.tables import arrow_rows
from tests.unit.private.conftest import png, values

ALL = ("all",)
CANARY = "CANARY-7f3a"
NAMES = ["cat", "dog"]
FEATURES = datasets.Features(
    image=datasets.Image(), label=datasets.ClassLabel(names=NAMES), user=datasets.Value("string")
)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def data_set(numbers: list[int]) -> datasets.Dataset:
    images = [{"bytes": png(n), "path": f"{CANARY}.png"} for n in numbers]
    return datasets.Dataset.from_dict(
        {"image": images, "label": [n % 2 for n in numbers], "user": [f"u{n % 3}" for n in numbers]}, FEATURES
    )


@pytest.fixture
def saved(place, tmp_path) -> DataConfig:
    """Ten rows in three Arrow files, at the place."""
    data_set(list(range(10))).save_to_disk(tmp_path / "made", num_shards=3)
    for file in (tmp_path / "made").iterdir():
        place[1](file.name, file.read_bytes())
    return DataConfig(path=place[0], label_column="label", group_column="user")


@pytest.mark.parametrize("num_shards", [1, 2, 5, 20])
def test_every_row_is_a_record_of_one_shard(saved, num_shards):
    assert describe(saved).kind == "datasets"
    shards = [list(load_shard(saved, "record", shard, num_shards, ALL)) for shard in range(num_shards)]
    records = sorted((record for shard in shards for record in shard), key=lambda record: record.index)
    assert values(records) == list(range(10)) and len({record.index for record in records}) == 10


def test_classes_go_by_their_names(saved):
    records = sorted(load_shard(saved, "record", 0, 1, ("dog", "cow")), key=lambda record: record.index)
    assert [record.label for record in records] == [None, "dog"] * 5
    assert {record.problem for record in records if record.label is None} == {UNLISTED_LABEL}
    with pytest.raises(DataError, match="evolution.labels: '0' is no class of column 'label'") as caught:
        describe(saved, label_names=("0", "1"))
    assert "\n" not in str(caught.value)


def test_the_classes_of_parquet_that_datasets_wrote_go_by_their_names_too(tmp_path):
    data_set([0, 1, 2]).to_parquet(tmp_path / "d.parquet")
    data = DataConfig(path=str(tmp_path / "d.parquet"), label_column="label")
    assert [record.label for record in load_shard(data, "record", 0, 1, ("cat", "dog"))] == ["cat", "dog", "cat"]


def test_a_class_that_is_missing_casts_no_vote(tmp_path):
    table = data_set([0, 1]).with_format("arrow")[:]
    table = table.set_column(1, table.schema.field(1), pa.array([-1, None], pa.int64()))
    pq.write_table(table, tmp_path / "d.parquet")
    data = DataConfig(path=str(tmp_path / "d.parquet"), label_column="label")
    assert {record.problem for record in load_shard(data, "record", 0, 1, ("cat", "dog"))} == {UNLISTED_LABEL}


def test_files_that_were_not_saved_are_no_records(saved, place, tmp_path):
    """`map` and `shuffle` leave caches beside the data."""
    assert values(load_shard(saved, "record", 0, 1, ALL)) == list(range(10))
    data_set([99]).save_to_disk(tmp_path / "cache")
    place[1]("cache-0123456789abcdef.arrow", next((tmp_path / "cache").glob("*.arrow")).read_bytes())
    place[1]("other/state.json", json.dumps({"global_step": 7}).encode())
    assert values(load_shard(saved, "record", 0, 1, ALL)) == list(range(10))


def test_all_splits_of_a_folder_are_read_and_one_by_its_path(tmp_path):
    both = datasets.DatasetDict(train=data_set([1, 2]), test=data_set([3]))
    both.save_to_disk(tmp_path / "d")
    assert sorted(values(load_shard(DataConfig(path=str(tmp_path / "d")), "record", 0, 1, ALL))) == [1, 2, 3]
    assert values(load_shard(DataConfig(path=str(tmp_path / "d" / "train")), "record", 0, 1, ALL)) == [1, 2]


def test_rows_that_were_selected_are_the_only_ones(tmp_path):
    data_set(list(range(10))).select([7, 2, 5]).save_to_disk(tmp_path / "d")
    assert values(load_shard(DataConfig(path=str(tmp_path / "d")), "record", 0, 1, ALL)) == [7, 2, 5]


def test_only_configured_columns_are_read(saved, monkeypatch):
    from spti_ray.private import tables

    asked = []

    def spy(file, columns):
        asked.append(tuple(columns))
        return arrow_rows(file, columns)

    monkeypatch.setattr(tables, "arrow_rows", spy)
    list(load_shard(saved, "record", 0, 1, ALL))
    list(load_shard(saved, "group", 0, 1, ("cat", "dog")))
    assert asked == [("image",)] * 3 + [("image", "label", "user")] * 3


def test_a_data_set_that_lacks_a_file_is_refused(saved, place, tmp_path):
    place[1]("state.json", json.dumps({"_data_files": [{"filename": f"../{CANARY}.arrow"}]}).encode())
    with pytest.raises(DataError, match="lacks an Arrow file that its state.json lists") as caught:
        describe(saved)
    assert CANARY not in str(caught.value) and "\n" not in str(caught.value)


def test_planning_refuses_what_can_not_be_read(tmp_path, saved, place):
    with pa.OSFile(str(tmp_path / "none.arrow"), "wb") as file, pa.ipc.new_stream(file, FEATURES.arrow_schema):
        pass
    for data, what in (
        (DataConfig(path=str(tmp_path / "none.arrow")), "has no rows"),
        (saved.model_copy(update={"image_column": "images"}), "data.image_column: .* did you mean 'image'"),
        (saved.model_copy(update={"image_column": "label"}), "must hold encoded bytes, paths"),
    ):
        with pytest.raises(DataError, match=what):
            describe(data)
    (tmp_path / "d.arrow").write_bytes(CANARY.encode() * 100)
    with pytest.raises(DataError, match="no data set that datasets' save_to_disk wrote") as caught:
        describe(DataConfig(path=str(tmp_path / "d.arrow")))
    assert CANARY not in str(caught.value)


def test_the_fingerprint_notices_another_file(saved, place, tmp_path):
    before = fingerprint(describe(saved))
    assert fingerprint(describe(saved)) == before
    data_set([7]).save_to_disk(tmp_path / "new")
    (new,) = (tmp_path / "new").glob("*.arrow")
    place[1]("data-00001-of-00003.arrow", new.read_bytes())
    assert fingerprint(describe(saved)) != before


def parquet_of(names: list[str | None]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array(names, pa.string())}), buffer)
    return buffer.getvalue()


def test_a_path_is_looked_for_beside_its_table_and_nowhere_else(place, tmp_path):
    path, write = place
    write("sub/t.parquet", parquet_of(["a/1.png", "missing.png", "../outside.png", "/etc/hostname", "a", "", None]))
    write("sub/a/1.png", png(10))
    write("outside.png", png(20))
    records = list(load_shard(DataConfig(path=f"{path}/sub/t.parquet"), "record", 0, 1, ALL))
    assert values(records[:1]) == [10]
    assert [record.problem for record in records[1:]] == [UNREADABLE_FILE] * 4 + [MISSING_IMAGE] * 2


def test_a_url_in_a_column_is_not_followed(place):
    path, write = place
    write("there.png", png(10))
    write("t.parquet", parquet_of(["s3://bucket/there.png", f"{path}/there.png" if "://" in path else "file:///x"]))
    records = load_shard(DataConfig(path=f"{path}/t.parquet"), "record", 0, 1, ALL)
    assert [record.problem for record in records] == [UNREADABLE_FILE] * 2


def test_a_file_that_a_column_names_is_read_only_up_to_its_limit(place, monkeypatch):
    from spti_ray.private import record as module

    path, write = place
    write("there.png", png(10))
    write("t.parquet", parquet_of(["there.png"]))
    monkeypatch.setattr(module, "max_file_bytes", lambda max_pixels: 10)
    (record,) = load_shard(DataConfig(path=f"{path}/t.parquet"), "record", 0, 1, ALL)
    assert record.problem == FILE_TOO_LARGE


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(png(10))
    Path(tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data" / "t.parquet").write_bytes(parquet_of(["link.png"]))
    data = DataConfig(path=str(tmp_path / "data" / "t.parquet"))
    (record,) = load_shard(data, "record", 0, 1, ALL)
    assert record.problem == UNREADABLE_FILE


def read_all(data: DataConfig, unit="record", labels=ALL):
    records = [record for shard in range(2) for record in load_shard(data, unit, shard, 2, labels)]
    return sorted(records, key=lambda record: record.index)


def write_as(kind: str, root: Path, table: pa.Table) -> DataConfig:
    """One file, as Parquet or as `datasets` saves it."""
    if kind == "parquet":
        pq.write_table(table, root / "d.parquet")
    else:
        with pa.OSFile(str(root / "d.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
        (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": "d.arrow"}]}))
    return DataConfig(path=str(root), label_column="label", group_column="user")


ODD = {
    "text that is no UTF-8": pa.array([b"a", b"\xff\xfea", b"a"], pa.binary()).view(pa.string()),
    "a day that Python has not": pa.array([7, 2**31 - 1, 7], pa.date32()),
    "a time that Python has not": pa.array([7, 2**62, 7], pa.timestamp("ms")),
    "billionths of a second": pa.array([7, 2**60 + 1, 7], pa.timestamp("ns")),
    "a text of a million letters": pa.array(["a", "x" * 10**6, "a"]),
}


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("odd", ODD)
def test_a_cell_that_can_not_be_read_is_its_rows_own(tmp_path, kind, odd):
    column = ODD[odd]
    data = write_as(kind, tmp_path, pa.table({"image": [png(i) for i in range(3)], "label": column, "user": column}))
    found = read_all(data, "group")
    assert len(found) == 3 and all(record.problem is None for record in found if record.index != 1)
    groups = {record.index: record.group for record in found}
    assert groups[0] == groups[2] != groups[1]
    assert groups[1] is not None or "text" not in odd, "what is no UTF-8 keeps its bytes"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_an_image_that_can_not_be_taken_from_its_cell_is_its_rows_own(tmp_path, kind):
    paths = pa.array([b"a.png", b"\xff.png", b"\0"], pa.binary()).view(pa.string())
    structs = pa.StructArray.from_arrays([pa.nulls(3, pa.binary()), paths], ["bytes", "path"])
    (tmp_path / "a.png").write_bytes(png(10))
    for images in (paths, structs):
        data = write_as(kind, tmp_path, pa.table({"image": images, "label": ["a"] * 3, "user": ["u"] * 3}))
        path = data.path if kind == "arrow" else f"{data.path}/d.parquet"
        (tmp_path / "a.png").rename(tmp_path / ".hidden") if kind == "arrow" else None
        found = read_all(data.model_copy(update={"path": path}))
        assert {record.problem for record in found[1:]} == {UNREADABLE_FILE}
        (tmp_path / ".hidden").rename(tmp_path / "a.png") if kind == "arrow" else None


def outcome(data: DataConfig, where: Path) -> list[int] | str:
    try:
        describe(data)
        return values(read_all(data))
    except DataError as error:
        assert CANARY not in str(error) and "\n" not in str(error) and error.__context__ is None
        return str(error).replace(str(where), "")


def three(tmp_path, kind: str, **options) -> tuple[DataConfig, Path]:
    columns = {"image": [png(i) for i in range(6)], "label": [CANARY] * 6, "user": ["u"] * 6}
    data = write_as(kind, tmp_path, pa.table(columns))
    if options:
        pq.write_table(pa.table(columns), tmp_path / "d.parquet", **options)
    return data, tmp_path / ("d.parquet" if kind == "parquet" else "d.arrow")


def test_a_stream_that_ends_without_its_end_is_an_error_wherever_it_is_cut(tmp_path):
    """PyArrow takes the end of the file for the end of the stream."""
    data, file = three(tmp_path, "arrow")
    raw = file.read_bytes()
    assert outcome(data, tmp_path) == [0, 1, 2, 3, 4, 5]
    with pa.OSFile(str(file)) as opened:
        reader = pa.ipc.open_stream(opened)
        ends = [reader.read_next_batch() and opened.tell() for _ in range(3)]
    for cut in (*ends, len(raw) - 4, len(raw) - 1, ends[0] + 100, 100, 0):
        file.write_bytes(raw[:cut])
        assert isinstance(outcome(data, tmp_path), str), cut
    for more in (raw, b"\0"):
        file.write_bytes(raw + more)
        assert "an Arrow file is damaged or lacks its end" in outcome(data, tmp_path)
    file.write_bytes(raw[: ends[0] + 4] + bytes(4) + raw[ends[0] + 8 :])  # the length of the second batch's head
    assert "an Arrow file is damaged or lacks its end" in outcome(data, tmp_path)


def test_a_place_outside_of_the_data_is_an_error_and_not_looked_at(tmp_path):
    data, file = three(tmp_path, "arrow")
    raw = bytearray(file.read_bytes())
    lengths = [len(png(i)) for i in range(2)]
    at = raw.index(struct.pack("<iii", 0, lengths[0], sum(lengths)))
    for place in (2**30, -5, sum(lengths) + 50):
        raw[at + 4 : at + 8] = struct.pack("<i", place)
        file.write_bytes(raw)
        assert isinstance(outcome(data, tmp_path), str)


def test_a_page_that_does_not_fit_its_check_sum_is_an_error(tmp_path):
    """Without one a flipped length would shift the rows that follow it."""
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    data, file = three(tmp_path, "parquet", write_page_checksum=True, **plain)
    raw = file.read_bytes()
    at = raw.index(b"\x89PNG")
    for place in (at - 4, at + 20):
        file.write_bytes(raw[:place] + bytes([raw[place] ^ 2]) + raw[place + 1 :])
        assert "failed" in outcome(data, tmp_path)


def test_rows_that_the_footer_does_not_know_or_are_not_there_are_an_error(tmp_path, monkeypatch):
    data, _ = three(tmp_path, "parquet")
    original = pq.ParquetFile.iter_batches

    def fewer(self, *args, **kwargs):
        yield from (batch.slice(1) for batch in original(self, *args, **kwargs))

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fewer)
    assert "a Parquet file has other rows than its footer says" in outcome(data, tmp_path)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"[" * 100_000, "has a state.json that can't be read"),
        (b'{"_data_files"', "has a state.json that can't be read"),
        (b'{"n": ' + b"9" * 5_000 + b"}", "has a state.json that can't be read"),
        (b'{"_data_files": [{"filename": "d.arrow"}, {"filename": "d.arrow"}]}', "lists a file twice"),
    ],
    ids=range(4),
)
def test_a_state_that_can_not_be_read_or_lists_a_file_twice_is_refused(tmp_path, written, told):
    data, _ = three(tmp_path, "arrow")
    (tmp_path / "state.json").write_bytes(written)
    assert told in outcome(data, tmp_path)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_names_of_classes_that_can_not_be_read_are_none(tmp_path, kind):
    table = pa.table({"image": [png(1)], "label": [1], "user": ["u"]})
    table = table.replace_schema_metadata({b"huggingface": b"[" * 100_000})
    assert [record.label for record in read_all(write_as(kind, tmp_path, table), labels=("1",))] == ["1"]
