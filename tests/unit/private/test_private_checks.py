"""Labels and columns that fit no record are refused at planning, in words that say nothing of what was found."""

import io
import json
import tarfile
import unicodedata
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.config import DataConfig
from spti_ray.private.dataset import load_shard
from spti_ray.private.kinds import DataError
from spti_ray.private.record import UNLISTED_LABEL
from spti_ray.private.source import describe
from tests.unit.private.conftest import png, values

CANARY = "CANARY7f3a"
LABELS = ("café", "dog")
CAFE, DECOMPOSED = LABELS[0], unicodedata.normalize("NFD", LABELS[0])


def zip_bytes(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, png(10 * i))
    return buffer.getvalue()


def old_zip_bytes(folder: bytes) -> bytes:
    """A zip file whose names are in no encoding that it says, as old tools write them."""
    name = folder + b"/1.png"
    stand_in = "x" * len(name)
    content = zip_bytes(stand_in)
    return content.replace(stand_in.encode(), name)


def table_bytes(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def refusal(data: DataConfig, unit="record", labels=LABELS) -> str:
    with pytest.raises(DataError) as caught:
        describe(data, unit, labels)
    assert CANARY not in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def labels_of(data: DataConfig, labels=LABELS):
    describe(data, "record", labels)
    return [record.label for record in load_shard(data, "record", 0, 1, labels)]


def jsonl(*rows):
    return "\n".join(map(json.dumps, rows)).encode()


def test_labels_that_are_no_first_folder_are_refused(place):
    path, write = place
    write(f"train{CANARY}/dog/1.png", png(10))
    write(f"val{CANARY}/café/2.png", png(20))
    write("dog.png", png(20))
    assert refusal(DataConfig(path=path)).startswith("evolution.labels: no label is the name of a first folder")
    assert labels_of(DataConfig(path=f"{path}/train{CANARY}")) == ["dog"]


def test_one_label_that_is_a_folder_is_enough(place):
    path, write = place
    write("dog/1.png", png(10))
    write("other/2.png", png(20))
    assert labels_of(DataConfig(path=path)) == ["dog", None]


def test_a_folder_has_its_label_however_its_letters_are_written(place):
    path, write = place
    write(f"{DECOMPOSED}/1.png", png(10))
    assert labels_of(DataConfig(path=path)) == [CAFE]


def test_a_zip_file_with_a_folder_around_the_labels_is_refused(place):
    path, write = place
    write("a.zip", zip_bytes(f"{CANARY}/dog/1.png", f"{CANARY}/café/2.png"))
    assert "in a zip file: no folder around them" in refusal(DataConfig(path=path))


@pytest.mark.parametrize("name", ["dog.zip", "dog/part-1.zip", "x/dog.zip"])
def test_members_without_a_folder_have_the_label_of_their_zip_file(place, name):
    path, write = place
    write(name, zip_bytes("1.png", "café/2.png"))
    assert labels_of(DataConfig(path=path)) == ["dog", "café"]
    if "/" not in name:
        assert labels_of(DataConfig(path=f"{path}/{name}")) == ["dog", "café"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp437", "cp850", "latin-1"])
def test_names_in_zip_files_of_old_tools_are_labels_too(tmp_path, encoding):
    (tmp_path / "a.zip").write_bytes(old_zip_bytes(CAFE.encode(encoding)))
    assert labels_of(DataConfig(path=str(tmp_path / "a.zip"))) == [CAFE]


@pytest.mark.parametrize("begin", ["./", "/", ".\\"])
def test_names_in_a_zip_file_may_begin_as_paths_do(tmp_path, begin):
    (tmp_path / "a.zip").write_bytes(zip_bytes(f"{begin}dog/1.png", f"{begin}dog/.hidden/2.png"))
    assert labels_of(DataConfig(path=str(tmp_path / "a.zip"))) == ["dog"]
    (tmp_path / "a.zip").write_bytes(zip_bytes(f"{begin}dog/1.png", "dog/1.png"))
    assert "failed" in refusal(DataConfig(path=str(tmp_path / "a.zip")))


def test_a_folder_in_a_zip_file_may_be_written_with_a_backslash(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_bytes("dog\\1.png", "dog\\.hidden\\2.png"))
    assert labels_of(DataConfig(path=str(tmp_path / "a.zip"))) == ["dog"]


@pytest.mark.parametrize("name", ["folder", "zip", "lmdb"])
def test_a_label_column_of_what_has_no_columns_is_refused_unless_folders_are_the_labels(tmp_path, name):
    from tests.unit.private.formats import WRITERS

    (tmp_path / "data").mkdir()
    path = WRITERS[name](tmp_path / "data", [("dog", png(10), "u")])
    # What `spti init` writes for a folder whose folders are the labels.
    assert labels_of(DataConfig(path=path, label_column="label")) == ["dog"]
    (tmp_path / "other").mkdir()
    path = WRITERS[name](tmp_path / "other", [("none of them", png(10), "u")])
    message = refusal(DataConfig(path=path, label_column="label"))
    assert message.startswith("evolution.labels") and "with data.label_column 'label' is in it" in message


def test_metadata_one_level_down_is_no_metadata(place):
    path, write = place
    write("train/1.png", png(10))
    write("train/metadata.jsonl", jsonl({"file_name": "1.png", "label": "dog"}))
    message = refusal(DataConfig(path=path, label_column="label"))
    assert message.startswith("evolution.labels") and "with data.label_column 'label' is in it" in message
    assert labels_of(DataConfig(path=f"{path}/train", label_column="label")) == ["dog"]


WRITTEN = ["./a b/é.PNG", "a b\\é.png", ".\\a b//é.png", " a b/é.png ", "a b/e\u0301.Png"]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("on_disk", ["a b/é.png", "a b/e\u0301.PNG"])
def test_a_row_finds_its_image_however_it_writes_the_name(tmp_path, written, on_disk):
    put_file(tmp_path, on_disk, png(10))
    for name, content in (
        ("metadata.jsonl", jsonl({"file_name": written, "label": "dog"})),
        ("metadata.csv", f"file_name,label\n{written},dog\n".encode()),
    ):
        (tmp_path / name).write_bytes(content)
        assert labels_of(DataConfig(path=str(tmp_path), label_column="label")) == ["dog"]
        (tmp_path / name).unlink()


def put_file(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("other", ["1.PNG", "é.png"])
def test_two_images_that_one_row_would_be_about_are_refused(place, other):
    path, write = place
    for i, name in enumerate(("1.png", "e\u0301.png", other)):
        write(name, png(i))
    write("metadata.jsonl", jsonl({"file_name": "1.png", "label": "dog"}))
    assert "a row of metadata.jsonl would be about both" in refusal(DataConfig(path=path, label_column="label"))
    assert len(list(load_shard(DataConfig(path=path), "record", 0, 1, ("all",)))) == 3, "no row is looked for"


def test_no_single_row_decides_which_columns_there_are(place):
    path, write = place
    write("1.png", png(10))
    write("metadata.jsonl", jsonl({CANARY: 1}, {"file_name": "0.png"}, {"file_name": "1.png", "label": "dog"}))
    assert labels_of(DataConfig(path=path, label_column="label")) == ["dog"]
    message = refusal(DataConfig(path=path, label_column="lable"))
    assert message.startswith("data.label_column: 'lable' does not fit metadata.jsonl") and "'label'" not in message


KINDS = {
    "view": pa.binary_view(),
    "large": pa.large_binary(),
    "fixed": pa.binary(len(png(10))),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_read_however_the_column_keeps_them(tmp_path, kind):
    images = pa.array([png(10), png(10)])
    images = images.dictionary_encode() if kind == "dictionary" else images.cast(KINDS[kind])
    pq.write_table(pa.table({"image": images}), tmp_path / "p.parquet")
    data = DataConfig(path=str(tmp_path))
    describe(data)
    assert values(load_shard(data, "record", 0, 1, ("all",))) == [10, 10]


@pytest.mark.parametrize("kind", ["view", "dictionary"])
def test_paths_and_labels_are_read_however_the_column_keeps_them(tmp_path, kind):
    (tmp_path / "1.png").write_bytes(png(10))

    def column(text):
        array = pa.array([text])
        return array.dictionary_encode() if kind == "dictionary" else array.cast(pa.string_view())

    pq.write_table(pa.table({"image": column("1.png"), "label": column("dog")}), tmp_path / "p.parquet")
    assert labels_of(DataConfig(path=str(tmp_path / "p.parquet"), label_column="label")) == ["dog"]


@pytest.mark.parametrize("value", [["dog"], {"name": "dog"}, [{"a": 1}]])
@pytest.mark.parametrize("unit", ["record", "group"])
def test_lists_and_structs_are_no_labels_and_no_groups(place, value, unit):
    path, write = place
    write("p.parquet", table_bytes(image=[png(10)], label=["dog"], odd=[value]))
    data = {"record": DataConfig(path=path, label_column="odd")}
    data["group"] = DataConfig(path=path, label_column="label", group_column="odd")
    field = "label" if unit == "record" else "group"
    assert refusal(data[unit], unit).startswith(f"data.{field}_column: column 'odd' holds lists or structs")


def test_words_are_no_labels_of_a_column_of_numbers(place):
    path, write = place
    write("p.parquet", table_bytes(image=[png(10), png(20)], label=[1, 2]))
    data = DataConfig(path=path, label_column="label")
    assert "holds whole numbers, and no label is such a one" in refusal(data)
    assert labels_of(data, ("1", "dog")) == ["1", None]


@pytest.mark.parametrize(
    ("values", "fits"),
    [([1.5, 2.0], "1.50"), ([True, False], "True"), (pa.array([None, None]), None)],
    ids=["floats", "booleans", "nulls"],
)
def test_labels_that_no_cell_of_a_columns_kind_can_be_are_refused(place, values, fits):
    path, write = place
    write("p.parquet", table_bytes(image=[png(10), png(20)], label=values))
    data = DataConfig(path=path, label_column="label")
    for labels in (("dog", "cat"), ("true", "false")):
        assert "no label is such a one" in refusal(data, labels=labels)
    if fits is not None:
        describe(data, "record", ("dog", fits))
    else:
        write("q.parquet", table_bytes(image=[png(30)], label=["dog"]))
        describe(data, "record", ("dog", "cat"))


@pytest.mark.parametrize("values", [[1], [1.5], [True]])
def test_one_column_is_not_both_a_folder_and_numbers(place, values):
    """`01` of a folder and 1 of a column would be two names of one unit."""
    path, write = place
    write("user=01/0.parquet", table_bytes(image=[png(10)]))
    write("1.parquet", table_bytes(image=[png(20)], user=values))
    data = DataConfig(path=path, group_column="user")
    assert "has not the same type in all files" in refusal(data, "group", ("all",))
    write("1.parquet", table_bytes(image=[png(20)], user=["01"]))
    assert {record.group for record in load_shard(data, "group", 0, 1, ("all",))} == {"01"}


def test_hive_partitions_are_columns(place):
    path, write = place
    write("label=dog/user=7/0.parquet", table_bytes(image=[png(10), png(20)]))
    write(f"label={DECOMPOSED}/user=8/0.parquet", table_bytes(image=[png(30)]))
    write("label=__HIVE_DEFAULT_PARTITION__/user=a%20b/0.parquet", table_bytes(image=[png(40)]))
    data = DataConfig(path=path, label_column="label", group_column="user")
    records = list(load_shard(data, "record", 0, 1, LABELS))
    assert sorted((record.label or "", record.problem or "") for record in records) == sorted(
        [("dog", ""), ("dog", ""), (CAFE, ""), ("", UNLISTED_LABEL)]
    )
    groups = {record.group for record in load_shard(data, "group", 0, 1, ("all",))}
    assert groups == {"7", "8", "a b"}
    assert "evolution.labels" in refusal(data, labels=("cat", "cow"))
    write("0.parquet", table_bytes(image=[png(50)]))
    assert "has no column 'label'" in refusal(data), "a file that is in no partition"


def test_a_column_that_one_file_lacks_is_refused_at_planning(place):
    path, write = place
    write("0.parquet", table_bytes(image=[png(10)], label=["dog"], user=["u"]))
    write("1.parquet", table_bytes(image=[png(10)], user=["u"]))
    assert "data.label_column" in refusal(DataConfig(path=path, label_column="label"))
    write("1.parquet", table_bytes(image=[png(10)], label=["dog"]))
    assert "data.group_column" in refusal(DataConfig(path=path, label_column="label", group_column="user"), "group")
    write("1.parquet", table_bytes(image=pa.array([], pa.binary())))
    assert labels_of(DataConfig(path=path, label_column="label")) == ["dog"], "there is no record that lacks it"


def test_what_webdataset_leaves_out_is_left_out(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for i, name in enumerate(("__index__/1.png", "a/__x__/2.png", "__y/3.png", "__init__.png")):
            member = tarfile.TarInfo(name)
            member.size = len(png(10 * i))
            tar.addfile(member, io.BytesIO(png(10 * i)))
    assert values(load_shard(DataConfig(path=str(tmp_path)), "record", 0, 1, ("all",))) == [10, 20, 30]
