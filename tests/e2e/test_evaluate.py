"""`spti evaluate` on a finished run (fake engines), judged by the bundled networks: figures for the owner alone."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, Finished

FEW = ("--limit", "80", "--resamples", "20")


@pytest.fixture(scope="module")
def looked_at(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A copy of the finished run and its ledger, so that the look is not in the original's."""
    folder = tmp_path_factory.mktemp("evaluate") / "work"
    shutil.copytree(finished.cli.folder, folder)
    # The copied run's ledger is the copied one: looks are recorded in it.
    run = folder / "run" / "run.yaml"
    run.write_text(run.read_text().replace(str(finished.cli.folder), str(folder)))
    return Cli(folder)


@pytest.fixture(scope="module")
def evaluated(looked_at: Cli):
    done = looked_at("evaluate", "run", *FEW, "--label-column", "label", "--judge", "bundled:sticker-blip", "--json")
    assert done.returncode == 0, done.stderr
    return done


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_it_prints_what_it_writes_and_says_that_it_is_internal(evaluated, looked_at):
    document = json.loads(evaluated.stdout)
    path = looked_at.folder / "run" / "internal" / "evaluation" / "release.json"
    assert json.loads(path.read_text()) == document
    assert document["statement"].startswith("internal: not differentially private")
    (result,) = document["results"]
    assert (result["num_given"], result["num_generated"], result["independent"]) == (16, 16, True)
    metrics = {metric["name"]: metric for metric in result["metrics"]}
    # SIMULATED renders are coloured cards: no judge takes them for stickers.
    for name in ("frechet", "frechet_infinity", "kid", "cmmd"):
        assert metrics[name]["value"] > max(0, metrics[name]["yardstick"])
    assert {"precision", "recall", "vendi", "copied", "clip_score", "label_distance"} <= metrics.keys()


def test_only_the_owner_can_read_it_and_nothing_of_it_is_in_the_release(evaluated, looked_at, finished):
    folder = looked_at.folder / "run" / "internal" / "evaluation"
    for file in folder.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files_of(looked_at.folder / "run" / "release") == files_of(finished.out / "release")


def test_the_look_is_in_the_ledger_and_said(evaluated, looked_at):
    assert "recorded as a look with a private metric" in evaluated.stderr
    history = looked_at("ledger", "history", "ledger")
    assert "looked at: spti evaluate, judged by bundled:sticker-blip" in history.stdout


def test_all_generations_are_compared_at_one_size(evaluated, looked_at):
    done = looked_at("evaluate", "run", *FEW, "--generation", "all", "--candidates", "--name", "curve")
    assert done.returncode == 0, done.stderr
    assert "generation-00-candidates" in done.stdout and "generation-02-candidates" in done.stdout
    document = json.loads((looked_at.folder / "run" / "internal" / "evaluation" / "curve.json").read_text())
    assert [result["num_generated"] for result in document["results"]] == [24, 24, 24]


def test_a_folder_of_images_needs_a_reference_and_a_private_place(evaluated, looked_at):
    release = shutil.copytree(looked_at.folder / "run" / "release" / "images", looked_at.folder / "baseline")
    lacking = looked_at("evaluate", "baseline", "--reference", "bundled:stickers")
    assert lacking.returncode == 2 and "--out FOLDER" in lacking.stderr
    done = looked_at("evaluate", "baseline", "--reference", "bundled:stickers", "--out", "private", *FEW)
    assert done.returncode == 0, done.stderr
    assert "not a run: no look was recorded" in done.stderr
    assert stat.S_IMODE((looked_at.folder / "private" / "baseline.json").stat().st_mode) == 0o600
    assert sorted(file.name for file in release.iterdir()) == sorted(
        file.name for file in (looked_at.folder / "run" / "release" / "images").iterdir()
    )


def test_bad_input_is_one_line_and_no_look(looked_at):
    before = (looked_at.folder / "ledger" / "stickers.jsonl").read_bytes()
    done = looked_at("evaluate", "run", "--out", "run/release/figures")
    assert done.returncode == 2 and "inside a release" in done.stderr and done.stderr.count("\n") == 1
    assert (looked_at.folder / "ledger" / "stickers.jsonl").read_bytes() == before
