"""What `datasets` saves, here and in object storage, and columns of paths: each row once, nothing else opened."""

import io
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.config import DataConfig
from spti_ray.private.dataset import UNLISTED_LABEL, load_shard
from spti_ray.private.encoded import FILE_TOO_LARGE, MISSING_IMAGE, UNREADABLE_FILE
from spti_ray.private.source import DataError, describe, fingerprint
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
    from spti_ray.private import dataset

    path, write = place
    write("there.png", png(10))
    write("t.parquet", parquet_of(["there.png"]))
    monkeypatch.setattr(dataset, "largest", lambda max_pixels: 10)
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
