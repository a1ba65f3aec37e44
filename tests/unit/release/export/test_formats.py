"""Each format, read back by its own reader: every image with its bytes, its text and its label."""

import json
import tarfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.config import DataConfig
from spti_ray.private.dataset import load_shard
from spti_ray.public.release import MODELS_KEY
from spti_ray.release.export import formats
from spti_ray.release.export.command import export_release
from spti_ray.release.export.released import NotExported
from tests.unit.release.export.conftest import certify

DOCUMENTS = {name: name for name in ("manifest.parquet", "report.html", "privacy.json")} | {"README.md": "datasheet.md"}
"""Name in an export, and in the release."""


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.fixture
def exported(run, tmp_path):
    def export(format: str) -> Path:
        list(export_release(run, format, str(tmp_path / "out")))
        return tmp_path / "out"

    return export


@pytest.mark.parametrize("format", formats.WRITERS)
def test_an_export_says_how_far_it_is(format, run, tmp_path):
    told = []
    list(export_release(run, format, str(tmp_path / "out"), told=lambda *step: told.append(step)))
    assert told[0][0] == "writing images" and told[0][1] == 0
    count = pq.read_metadata(tmp_path / "out" / "manifest.parquet").num_rows
    in_one = format in ("datasets", "parquet")  # which write a whole library's data set, or groups of a hundred
    assert len(told) == (1 if in_one else count)


def read(rows) -> list[tuple[bytes, str, str]]:
    return [(row["image"]["bytes"], row["text"], row["label_name"]) for row in rows]


def by_class(data_set: datasets.Dataset) -> list[tuple[bytes, str, str]]:
    """As `read`, with the label by the class's name."""
    name = data_set.features["label"].int2str
    return [(row["image"]["bytes"], row["text"], name(row["label"])) for row in as_bytes(data_set)]


def as_bytes(data_set: datasets.Dataset) -> datasets.Dataset:
    return data_set.cast_column("image", datasets.Image(decode=False))


@pytest.mark.parametrize("format", formats.WRITERS)
def test_certificate_and_datasheet_are_beside_the_data_unaltered(format, run, exported):
    out = exported(format)
    for name, own in DOCUMENTS.items():
        assert (out / name).read_bytes() == (run / "release" / own).read_bytes()
    assert not (out / "datasheet.md").exists()


@pytest.mark.parametrize("format", formats.WRITERS)
def test_nothing_of_the_run_but_its_release_is_in_an_export(format, run, exported, tmp_path):
    files = [file for file in exported(format).rglob("*") if file.is_file()]
    assert not any("internal" in file.name or "run.yaml" in file.name for file in files)
    for file in files:
        content = file.read_bytes()
        for canary in (b"canary-of-internal", b"canary-host", b"sk-canary", b"/hospital", str(tmp_path).encode()):
            assert canary not in content, file.name


def test_an_imagefolder_is_read_by_its_loader(exported, expected, tmp_path):
    out = exported("imagefolder")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert set(loaded.column_names) == {"image", "text", "label"}
    found = [(Path(row["image"]["path"]).read_bytes(), row["text"], row["label"]) for row in as_bytes(loaded)]
    assert found == expected


def test_an_imagefolder_is_a_release_that_can_be_exported_again(run, exported, tmp_path):
    list(export_release(exported("imagefolder"), "imagefolder", str(tmp_path / "again")))
    for file in (run / "release").rglob("*"):
        if file.is_file():
            name = str(file.relative_to(run / "release")).replace("datasheet.md", "README.md")
            assert (tmp_path / "again" / name).read_bytes() == file.read_bytes()


def test_parquet_is_read_by_pyarrow_with_all_of_the_manifest(run, exported, expected):
    table = pq.read_table(exported("parquet") / "data")
    manifest = pq.read_table(run / "release" / "manifest.parquet")
    assert read(table.to_pylist()) == expected
    plain = table.drop_columns(["image", "label"]).rename_columns({"label_name": "label"})
    assert plain.to_pylist() == manifest.to_pylist()
    assert table.schema.metadata[MODELS_KEY] == manifest.schema.metadata[MODELS_KEY]


@pytest.mark.parametrize("named", [True, False])
def test_parquet_is_read_by_datasets_as_images(exported, expected, tmp_path, named):
    out = exported("parquet")
    where = {"path": "parquet", "data_dir": str(out / "data")} if named else {"path": str(out)}
    loaded = datasets.load_dataset(**where, cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and isinstance(loaded["train"].features["image"], datasets.Image)
    assert loaded["train"][0]["image"].size == (24, 24)
    assert read(as_bytes(loaded["train"])) == by_class(loaded["train"]) == expected
    assert loaded["train"].features["label"].names == ["cat", "dog"]


def test_webdataset_is_read_by_its_loader(exported, expected, tmp_path):
    loaded = datasets.load_dataset(str(exported("webdataset")), cache_dir=str(tmp_path / "cache"))["train"]
    loaded = loaded.cast_column("png", datasets.Image(decode=False))
    found = [(row["png"]["bytes"], row["txt"], row["json"]["label"]) for row in loaded]
    assert found == expected
    assert [["cat", "dog"][int(row["cls"])] for row in loaded] == [label for _, _, label in expected]


def test_tar_files_say_nothing_of_the_machine(exported):
    (path,) = (exported("webdataset") / "data").iterdir()
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
        assert [m.name for m in members[:3]] == ["00000.png", "00000.txt", "00000.cls"]
        assert json.loads(tar.extractfile(members[3]).read())["file"] == "images/00000.png"


def test_what_datasets_saves_is_read_by_datasets(exported, expected):
    loaded = datasets.load_from_disk(exported("datasets") / "data")
    assert isinstance(loaded.features["image"], datasets.Image) and loaded[0]["image"].size == (24, 24)
    assert read(as_bytes(loaded)) == by_class(loaded) == expected


LOADS = {"imagefolder": 0, "parquet": 1, "webdataset": 1, "datasets": 2, "classfolders": 3}
"""Which of the datasheet's examples loads which format."""


@pytest.mark.parametrize("format", formats.WRITERS)
def test_the_datasheets_example_loads_the_export_that_it_lies_in(format, exported, expected, tmp_path, monkeypatch):
    out = exported(format)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    sheet = (out / "README.md").read_text()
    imports, _, *examples = sheet.split("```python\n")[1].split("\n```")[0].splitlines()
    assert len(examples) == 4
    names: dict = {}
    for line in (imports, examples[LOADS[format]].replace("PLACE", str(out))):
        exec(line, names)
    text, label = ("txt", "cls") if format == "webdataset" else ("text", "label")
    said = sheet.split("labels are numbers: ")[1].split(".")[0]
    classes = [name.split(" is ")[1] for name in said.split(", ")]
    found = [row[label] if format == "imagefolder" else classes[int(row[label])] for row in names["data"]]
    assert sorted(found) == sorted(name for _, _, name in expected)
    if format != "classfolders":
        assert [row[text] for row in names["data"]] == [said for _, said, _ in expected]


def test_class_folders_are_read_by_their_loader_with_classes_in_the_same_order(exported, expected, tmp_path):
    out = exported("classfolders")
    assert sorted(path.name for path in (out / "data").iterdir()) == ["cat", "dog"]
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out / "data"), cache_dir=str(tmp_path / "cache"))
    loaded = as_bytes(loaded["train"])
    assert loaded.features["label"].names == ["cat", "dog"]
    name = loaded.features["label"].int2str
    found = {(Path(row["image"]["path"]).read_bytes(), name(row["label"])) for row in loaded}
    assert found == {(image, label) for image, _, label in expected} and len(loaded) == len(expected)


@pytest.mark.parametrize("label", ["../x", "a/b", ".hidden", "..", "", "n\0", "x" * 256])
def test_a_label_that_can_not_be_a_folder_leaves_no_export_of_class_folders(run, tmp_path, label):
    path = run / "release" / "manifest.parquet"
    table = pq.read_table(path)
    labels = pa.array([label, *table["label"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("label"), "label", labels), path)
    certify(run / "release")
    with pytest.raises(NotExported, match="can't be a folder's name"):
        list(export_release(run, "classfolders", str(tmp_path / "to" / "out")))
    assert list((tmp_path / "to").iterdir()) == []
    list(export_release(run, "parquet", str(tmp_path / "parquet")))


@pytest.mark.parametrize("format", formats.WRITERS)
def test_an_export_can_be_the_data_of_a_run(format, exported, expected):
    """Whose private images somebody's synthetic ones are, is theirs to decide."""
    out = exported(format)
    data = DataConfig(path=str(out / ("images" if format == "imagefolder" else "data")), label_column="label")
    records = list(load_shard(data, "record", 0, 1, ()))
    assert len(records) == len(expected) and all(record.image.shape == (24, 24, 3) for record in records)
    if format != "imagefolder":
        labels = [label for _, _, label in expected]
        assert [record.label for record in records] == (sorted(labels) if format == "classfolders" else labels)


@pytest.mark.parametrize("format", ["parquet", "webdataset", "datasets"])
def test_many_images_are_split_into_files_in_order(format, exported, expected, monkeypatch):
    monkeypatch.setattr(formats, "_FILE_BYTES", 200)
    monkeypatch.setattr(formats, "_ROW_GROUP", 2)
    out = exported(format)
    files = sorted(file for file in (out / "data").iterdir() if file.suffix != ".json")
    assert len(files) > 1 and files[-1].name.endswith(f"{len(files) - 1:05d}-of-{len(files):05d}{files[0].suffix}")
    data = DataConfig(path=str(out / "data"), label_column="label")
    records = list(load_shard(data, "record", 0, 1, ()))
    assert [record.label for record in records] == [label for _, _, label in expected]


def test_two_exports_of_a_release_are_the_same_bytes(run, tmp_path):
    for format in ("imagefolder", "parquet", "webdataset"):
        one, two = (tmp_path / format / name for name in ("one", "two"))
        for out in (one, two):
            list(export_release(run, format, str(out)))
        for file in (file for file in one.rglob("*") if file.is_file()):
            assert (two / file.relative_to(one)).read_bytes() == file.read_bytes()
