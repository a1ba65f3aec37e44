"""Whole runs: each image of a release says what it is, however the run went, and wherever the image goes from there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spti_ray.config import Config
from spti_ray.dp.ledger import Ledger
from spti_ray.driver import attempt
from spti_ray.provenance.png_chunks import with_xmp, xmp_of
from spti_ray.provenance.xmp import said_in
from spti_ray.public.released_files import read_certificate
from spti_ray.release.export.command import export_release
from spti_ray.release.export.formats import WRITERS
from spti_ray.release.verify import release_and_chain, verify_release
from spti_ray.release.verify_alone import verify_alone
from spti_ray.runs.refinement import refined
from spti_ray.runs.run_file import read_run
from spti_ray.runtime.local.engines import Engines
from spti_ray.step_progress import untold
from tests.local_runs import run

pytestmark = pytest.mark.usefixtures("kept")

Local = Callable[..., Config]


class Crash(BaseException):
    """The driver stops here."""


@pytest.fixture(scope="module")
def finished(configured: Local, kept: Engines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its certificate; its folder."""
    folder = tmp_path_factory.mktemp("finished")
    run(configured(folder), folder / "run", noise=None)
    return folder / "run"


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def said_by(folder: Path) -> dict[str, str]:
    """What all images of a folder say."""
    (packet,) = {xmp_of(png) for png in images(folder).values()}
    assert packet is not None
    return said_in(packet)


def first_opened(directory: Path, run_id: str) -> str:
    ledger = Ledger(read_run(directory)["config"]["ledger"]["path"], "toys")
    return next(e.hash for e in ledger.entries() if e.kind == "OPENED" and e.event.run == run_id)


def failures(directory: Path) -> list[str]:
    checks = list(verify_release(*release_and_chain(directory, None)))
    assert "release.provenance in XMP" in [check.field for check in checks]
    return [f"{check.field}: {check.detail}" for check in checks if not check.holds]


def test_each_image_says_what_certificate_and_ledger_say(finished):
    said = said_by(finished / "release")
    certificate = read_certificate(finished / "release")
    run_id = read_run(finished)["run"]
    assert certificate["run"]["id"] == said["run"] == run_id
    assert said["ledger_entry"] == first_opened(finished, run_id)
    assert float(said["epsilon"]) >= certificate["epsilon"] and said["protection"] == "differential privacy"
    assert (said["unit"], said["method"]) == ("record", "spti")
    assert said["simulated"] == "image embedder, renderer, writer"
    assert said["source_type"].endswith("/trainedAlgorithmicMedia")
    assert failures(finished) == []
    assert "says in XMP that a trained model made it" in (finished / "release" / "datasheet.md").read_text()


def test_a_run_that_goes_on_says_the_same_in_all_images_also_after_another_version(local, tmp_path, monkeypatch):
    config, write_release = local(), attempt.write_release

    def stop(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(attempt, "write_release", stop)
    with pytest.raises(Crash):
        run(config, tmp_path / "run", noise=None)
    left = sorted((tmp_path / "run" / "release.partial" / "images").iterdir())
    (said_first,) = {xmp_of(path.read_bytes()) for path in left}
    assert len(left) == 6 and said_first is not None, "images are marked as they are written"
    for path, content in zip(left, (None, "of another version"), strict=False):
        path.write_bytes(with_xmp(path.read_bytes(), content))
    monkeypatch.setattr(attempt, "write_release", write_release)
    run(config, tmp_path / "run", noise=None)
    said = said_by(tmp_path / "run" / "release")
    assert said["ledger_entry"] == first_opened(tmp_path / "run", said["run"])
    assert failures(tmp_path / "run") == []


@pytest.mark.parametrize("format", WRITERS)
def test_an_export_keeps_what_images_say_and_it_is_checked_there(finished, tmp_path, format):
    list(export_release(finished, format, str(tmp_path / "out"), None, untold))
    checks = list(verify_alone(tmp_path / "out"))
    assert [check.field for check in checks if not check.holds] == []
    (found,) = (check for check in checks if check.field == "release.provenance in XMP")
    assert found.detail.startswith("6 images say")


def test_images_that_are_rendered_again_say_whose_votes_they_rest_on(finished, tmp_path):
    config = refined(finished, images=8)
    run(config, tmp_path / "again", noise=None)
    assert said_by(tmp_path / "again" / "release") == said_by(finished / "release")
    before = images(finished / "release").values()
    assert len(images(tmp_path / "again" / "release")) == 8
    assert sum(png in before for png in images(tmp_path / "again" / "release").values()) >= 5
    assert failures(tmp_path / "again") == []


def test_a_release_without_xmp_is_bare_and_proved_and_is_marked_by_rendering_it_again(local, tmp_path):
    run(local(release__provenance={"xmp": False}), tmp_path / "run", noise=None)
    assert {xmp_of(png) for png in images(tmp_path / "run" / "release").values()} == {None}
    checks = list(verify_release(*release_and_chain(tmp_path / "run", None)))
    assert all(check.holds for check in checks) and not any("provenance" in check.field for check in checks)
    assert "XMP" not in (tmp_path / "run" / "release" / "datasheet.md").read_text()

    run(refined(tmp_path / "run", overrides=["release.provenance.xmp=true"]), tmp_path / "marked", noise=None)
    assert said_by(tmp_path / "marked" / "release")["run"] == read_run(tmp_path / "run")["run"]
    assert failures(tmp_path / "marked") == []


@pytest.mark.parametrize(
    ("changes", "protection"),
    [
        ({"method": "random"}, "none needed: no private data used"),
        ({}, "NOT PRIVATE: the noise was simulated"),
        (
            {"method": "captions", "privacy__allow_not_private": True},
            "NOT PRIVATE, internal: renders of captions of the private images",
        ),
        (
            {"privacy__epsilon": float("inf"), "privacy__allow_not_private": True},
            "NOT PRIVATE, internal: images by spti without noise (epsilon inf)",
        ),
    ],
)
def test_what_has_no_certificate_says_so(local, tmp_path, changes, protection):
    folder = run(local(**changes), tmp_path / "run")
    said = said_by(folder)
    assert (said["protection"], said["method"]) == (protection, changes.get("method", "spti"))
    assert ("ledger_entry" in said) == ("simulated" in protection), "what is not protected is never opened"
    assert "delta" not in said and said["run"] == read_run(tmp_path / "run")["run"]
    if "internal" in protection:
        assert {path.stat().st_mode & 0o777 for path in folder.rglob("*.png")} == {0o600}


def test_what_an_earlier_build_released_is_marked_when_it_is_refined(tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parents[3] / "old_runs" / "ab5e8e4", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert refined(Path("finished")).release.provenance.xmp, "which is something to do"
    assert refined(Path("finished"), images=2).release.provenance.xmp
    assert refined(Path("finished"), generations=1).release.provenance.xmp
