"""What `croissant.json` of an export says, read by mlcroissant: every image, with its text and its label."""

import json

import mlcroissant
import pytest
from etils import epath
from mlcroissant._src.operation_graph.operations import extract
from PIL import Image

from spti_ray.release.export import formats
from spti_ray.release.export.command import export_release
from spti_ray.release.export.released import NotExported


@pytest.fixture(autouse=True)
def unpacked_here(tmp_path, monkeypatch):
    """mlcroissant keeps what it unpacks by the tar file's path in the export, so that two exports get one place."""
    monkeypatch.setattr(extract, "EXTRACT_PATH", epath.Path(tmp_path / "unpacked"))


@pytest.fixture(params=formats.WRITERS)
def exported(request, run, tmp_path):
    list(export_release(run, request.param, str(tmp_path / "out")))
    return request.param, tmp_path / "out"


def records_of(out, name):
    """The records of a set, with text for bytes and short names."""
    data_set = mlcroissant.Dataset(jsonld=str(out / "croissant.json"))  # one for each: a second reading gives nothing
    assert not data_set.metadata.ctx.issues.errors
    return [
        {key.split("/")[1]: value.decode() if isinstance(value, bytes) else value for key, value in record.items()}
        for record in data_set.records(name)
    ]


def test_mlcroissant_reads_the_records_of_every_format(exported, run, expected, monkeypatch, tmp_path):
    format, out = exported
    monkeypatch.chdir(tmp_path)  # paths are those in the export, wherever that is
    texts = records_of(out, "texts" if format == "webdataset" else "images")
    assert [(record["text"], record["label"]) for record in texts] == [(text, label) for _, text, label in expected]
    assert [record["name"] for record in records_of(out, "labels")] == ["cat", "dog"]
    names = [record["file"] for record in texts]
    assert names == sorted(path.name for path in (run / "release" / "images").iterdir())
    if format != "datasets":
        shades = {record["file"]: record["image"].getpixel((0, 0)) for record in records_of(out, "images")}
        assert len(set(shades.values())) == len(expected) and list(shades) == names
        for name, shade in shades.items():
            assert Image.open(run / "release" / "images" / name).getpixel((0, 0)) == shade


def test_files_are_named_with_their_hashes_and_an_altered_one_is_told(exported):
    format, out = exported
    document = json.loads((out / "croissant.json").read_text())
    hashed = {entry["contentUrl"] for entry in document["distribution"] if "sha256" in entry}
    tars = {"data/train-00000-of-00001.tar"} if format == "webdataset" else set()
    assert hashed == {"manifest.parquet"} | tars
    if format != "parquet":  # whose records need no manifest
        (out / "manifest.parquet").write_bytes(b"another")
        with pytest.raises(mlcroissant.GenerationError, match=r"Download\(manifest\)"):
            records_of(out, "texts" if tars else "images")


def test_all_else_is_what_the_release_says(exported, run):
    """Licence, guarantee and limits do not depend on the format."""
    ours, its = (json.loads((folder / "croissant.json").read_text()) for folder in (exported[1], run / "release"))
    of_data = ("distribution", "recordSet")
    assert {key: value for key, value in ours.items() if key not in of_data} == {
        key: value for key, value in its.items() if key not in of_data
    }
    assert ours.keys() == its.keys()
    assert (ours == its) == (exported[0] == "imagefolder")


def test_a_release_of_an_earlier_version_is_exported_without(run, tmp_path):
    (run / "release" / "croissant.json").unlink()
    list(export_release(run, "parquet", str(tmp_path / "out")))
    assert not (tmp_path / "out" / "croissant.json").exists() and (tmp_path / "out" / "README.md").exists()


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1, "a": 2}', "\udcff"])
def test_one_that_is_none_is_told_in_a_line_and_nothing_is_written(run, tmp_path, content):
    (run / "release" / "croissant.json").write_text(content, errors="surrogateescape")
    with pytest.raises(NotExported, match=r"croissant\.json: can't be read as a JSON object") as caught:
        list(export_release(run, "parquet", str(tmp_path / "out")))
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
