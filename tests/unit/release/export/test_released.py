"""What is a release, and what is never exported."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.release.export.command import export_release
from spti_ray.release.export.released import NotExported, read_release
from tests.unit.release.export.conftest import certify


def refusal(directory, **options) -> str:
    with pytest.raises(NotExported) as caught:
        read_release(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_and_its_release_are_the_same(run, tmp_path):
    shutil.copytree(run / "release", tmp_path / "published")
    for directory in (run, run / "release", tmp_path / "published"):
        assert read_release(directory).table.num_rows == 6


def test_what_is_no_finished_release_is_refused(run, tmp_path):
    assert "holds no finished run and no release" in refusal(tmp_path)
    assert "there is no such folder; name a run's, or a release's" in refusal(tmp_path / "nowhere")
    assert "holds no finished run and no release" in refusal(run / "generations" / "00")
    (run / "release" / "datasheet.md").unlink()
    assert "not finished" in refusal(run)


@pytest.mark.parametrize("mark", ["NOT-PRIVATE.txt", "NOT-CERTIFIED.txt"])
def test_what_is_not_private_or_not_certified_is_refused_wherever_it_is(run, tmp_path, mark):
    shutil.copytree(run / "release", tmp_path / "moved")
    (tmp_path / "moved" / mark).write_text("NOT PRIVATE")
    assert "internal, and never exported" in refusal(tmp_path / "moved")


def test_the_internal_folder_is_refused_also_behind_a_link_and_without_a_mark(run, tmp_path):
    shutil.copytree(run / "release", run / "internal" / "not-private")
    (tmp_path / "link").symlink_to(run / "internal" / "not-private")
    for directory in (run / "internal" / "not-private", tmp_path / "link"):
        assert "internal, and never exported" in refusal(directory)


@pytest.mark.timeout(20)
def test_an_image_that_is_not_the_manifests_stops_the_export_and_nothing_is_left(run, tmp_path):
    for spoil in (lambda file: file.write_bytes(b"another"), lambda file: file.unlink(), os.mkfifo):
        spoil(run / "release" / "images" / "00003.png")
        for format in ("imagefolder", "parquet", "webdataset", "datasets"):
            with pytest.raises(NotExported, match=r"images/00003.png: missing, or not the image") as caught:
                list(export_release(run, format, str(tmp_path / "out" / format)))
            assert "\n" not in str(caught.value)
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("file", ["../internal/votes.txt", "images/../x.png", "images/.x.png", "/etc/hostname"])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(run, file):
    path = run / "release" / "manifest.parquet"
    table = pq.read_table(path)
    files = [file, *table["file"].to_pylist()[1:]]
    pq.write_table(table.set_column(0, "file", pa.array(files)), path)
    certify(run / "release")
    assert "manifest.parquet is none of a release" in refusal(run)


def test_a_certificate_of_another_manifest_is_not_passed_on(run):
    certify(run / "release")
    read_release(run)
    table = pq.read_table(run / "release" / "manifest.parquet")
    pq.write_table(table.slice(1), run / "release" / "manifest.parquet")
    assert "privacy.json is not that of the manifest.parquet beside it" in refusal(run)
