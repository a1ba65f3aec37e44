"""`spti export`: whole or not at all, onto nothing, here and in buckets."""

import datasets
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config import DataConfig
from spti_ray.io.object_storage import storage_path
from spti_ray.private.dataset import load_shard
from spti_ray.release.export import command, formats
from tests.unit.private.conftest import put


def export(*arguments) -> tuple[int, str]:
    """Exit code, and what is said: the errors, which are one line, or else the output."""
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.stderr.count("\n") == (result.exit_code != 0), result.output
    return result.exit_code, result.stderr or result.stdout


@pytest.fixture
def s3_url(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.new_url()


def test_a_finished_run_is_exported_and_told_in_a_line(run, tmp_path):
    code, said = export(run, "--format", "parquet", "--out", tmp_path / "new" / "out")
    assert code == 0 and said == f"{tmp_path / 'new' / 'out'}: 6 images, with its certificate\n"
    assert pq.read_table(tmp_path / "new" / "out" / "data").num_rows == 6
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]  # nothing temporary beside it
    assert (tmp_path / "new" / "out").stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_taken_and_one_with_anything_in_it_is_not(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert export(run, "--format", "imagefolder", "--out", tmp_path / "empty")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    code, said = export(run, "--format", "parquet", "--out", tmp_path / "empty")
    assert code == 2 and "the folder is not empty; give a new one" in said
    (tmp_path / "file").write_text("mine")
    code, said = export(run, "--format", "parquet", "--out", tmp_path / "file")
    assert code == 2 and "is a file; give a folder" in said and (tmp_path / "file").read_text() == "mine"
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "file"])


def test_a_release_is_not_exported_into_itself(run):
    code, said = export(run, "--format", "parquet", "--out", run / "release" / "parquet")
    assert code == 2 and "in the release itself" in said


def test_a_release_is_not_written_among_the_private_images(run, tmp_path):
    """They would hold it from then on, as records of the next run."""
    private = tmp_path / "scans"
    private.mkdir()
    known = (run / "run.yaml").read_text()
    assert "/hospital/patients" in known
    (run / "run.yaml").write_text(known.replace("/hospital/patients", str(private)))
    code, said = export(run, "--format", "imagefolder", "--out", private / "label" / "x")
    assert code == 2 and "in the folder of the private images" in said and not list(private.iterdir())


def test_a_release_without_certificate_is_told_to_have_none(run, tmp_path):
    (run / "release" / "privacy.json").unlink()
    assert "WITHOUT certificate, see README.md" in export(run, "--format", "parquet", "--out", tmp_path / "out")[1]


def test_a_failure_leaves_nothing(run, tmp_path, monkeypatch):
    def fails(released, folder, told):
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(formats.WRITERS, "parquet", fails)
    code, said = export(run, "--format", "parquet", "--out", tmp_path / "out")
    assert code == 1 and "no space left on the disk, nothing was written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_missing_library_is_told_with_its_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    code, said = export(run, "--format", "datasets", "--out", tmp_path / "out")
    assert code == 2 and "pip install 'spti-ray[datasets]'" in said


@pytest.mark.parametrize("format", formats.WRITERS)
def test_a_bucket_holds_the_same_as_a_folder(format, run, tmp_path, s3_url):
    assert export(run, "--format", format, "--out", tmp_path / "out", "--bucket", f"{s3_url}/copy")[0] == 0
    assert export(run, "--format", format, "--out", f"{s3_url}/out")[0] == 0
    local = {str(file.relative_to(tmp_path / "out")): file for file in (tmp_path / "out").rglob("*") if file.is_file()}
    for url in (f"{s3_url}/copy", f"{s3_url}/out"):
        there = storage_path(url)
        found = {file.relative_to(there): file for file in there.files(("",))}
        assert found.keys() == local.keys()
        if format != "datasets" or url.endswith("copy"):  # which writes the hour into its files
            for name, file in found.items():
                with file.open_stream() as stream:
                    assert stream.read() == local[name].read_bytes()


def test_an_export_in_a_bucket_is_read_there(run, s3_url, expected):
    assert export(run, "--format", "parquet", "--out", f"{s3_url}/p")[0] == 0
    there = storage_path(f"{s3_url}/p/data")
    table = pq.read_table(there.path, filesystem=there.filesystem)
    assert [row["image"]["bytes"] for row in table.to_pylist()] == [image for image, _, _ in expected]
    assert export(run, "--format", "datasets", "--out", f"{s3_url}/d")[0] == 0
    records = load_shard(DataConfig(path=f"{s3_url}/d/data", label_column="label"), "record", 0, 1, ())
    assert [record.label for record in records] == [label for _, _, label in expected]


def test_the_certificate_is_the_last_to_come(run, s3, s3_url):
    s3.seen()
    assert export(run, "--format", "webdataset", "--out", f"{s3_url}/w")[0] == 0
    puts = [line for line in s3.seen() if line.startswith(("PUT", "POST"))]
    assert len(puts) == 6 and "privacy.json" in puts[-1] and not any("privacy.json" in line for line in puts[:-1])


def test_a_bucket_with_anything_there_is_refused_before_a_byte_is_written(run, s3_url, tmp_path):
    put(s3_url, "x/old", b"mine")
    for where in ("x", "x/old"):
        code, said = export(run, "--format", "parquet", "--out", tmp_path / "out", "--bucket", f"{s3_url}/{where}")
        assert code == 2 and "something is there" in said and not (tmp_path / "out").exists()


def test_an_upload_that_fails_is_told_and_leaves_no_certificate(run, s3_url, tmp_path, monkeypatch):
    upload = command._upload

    def fails(file, folder, target):
        if file.name == "README.md":
            raise OSError("canary of the store's answer")
        upload(file, folder, target)

    monkeypatch.setattr(command, "_upload", fails)
    code, said = export(run, "--format", "parquet", "--out", tmp_path / "out", "--bucket", f"{s3_url}/x")
    assert code == 1 and "privacy.json is not there" in said.replace("\n", " ") and "canary" not in said
    assert not any(file.name == "privacy.json" for file in storage_path(f"{s3_url}/x").files(("",)))
    assert (tmp_path / "out" / "privacy.json").is_file()


def test_a_bucket_that_is_not_there_is_told_in_a_line(run, s3_url):
    code, said = export(run, "--format", "parquet", "--out", "s3://no-such-bucket-of-mine/x")
    assert code == 1 and "check that the bucket is there" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--out", "ftp://host/x"), "ftp:// is none of s3://"),
        (("--out", "s3:/bucket/x"), "this names no bucket"),
        (("--out", "s3://key:secret@bucket/x"), "--out s3://bucket/x: credentials and options go"),
        (
            ("--out", "out", "--bucket", "s3://key:secret@bucket/x"),
            "--bucket s3://bucket/x: credentials",
        ),
        (("--out", "out", "--bucket", "folder"), "give a URL like s3://bucket/folder"),
        (("--out", "az://container/x"), "set AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_a_place_that_is_none_is_told_in_a_line(run, arguments, told, monkeypatch, tmp_path):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    code, said = export(run, "--format", "parquet", *arguments)
    assert code == 2 and told in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize("store", ["gcs", "azure"])
def test_an_export_goes_to_the_other_clouds_too(store, run, request, monkeypatch):
    url = request.getfixturevalue(store)
    base, _, query = url.partition("?")
    url = f"{base}-exported" + (f"?{query}" if query else "")
    there = storage_path(url)
    if isinstance(there.filesystem, fs.AzureFileSystem):
        there.filesystem.create_dir(there.path.partition("/")[0])
    assert export(run, "--format", "parquet", "--out", url)[0] == 0
    names = {file.relative_to(there) for file in there.files(("",))}
    assert {"data/train-00000-of-00001.parquet", "privacy.json", "README.md"} < names
    code, said = export(run, "--format", "parquet", "--out", url)
    assert code == 2 and "something is there" in said


def test_the_command_imports_datasets_only_when_asked(run, tmp_path):
    import subprocess
    import sys

    code = (
        "import sys\nfrom spti_ray.release.export.command import export_release\n"
        f"list(export_release(__import__('pathlib').Path({str(run)!r}), 'parquet', {str(tmp_path / 'out')!r}))\n"
        "print('datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "False", done.stderr
    assert datasets  # this process has it
