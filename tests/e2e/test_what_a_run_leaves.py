"""Issue-level promises about a finished run's folder, its files and its output."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from spti_ray.dp import artifact
from spti_ray.dp.file_chain import verify
from tests.taint.scan import pickles


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_release_has_all_its_files(finished):
    names = {path.name for path in (finished.out / "release").iterdir()}
    documents = {"privacy.json", "croissant.json", "datasheet.md", "report.html"}
    assert names == {"images", "manifest.parquet", "metadata.jsonl"} | documents


def test_the_manifest_describes_every_image(finished):
    rows = pq.read_table(finished.out / "release" / "manifest.parquet").to_pylist()
    images = sorted(path.name for path in (finished.out / "release" / "images").iterdir())
    assert sorted(row["file"] for row in rows) == [f"images/{name}" for name in images]
    assert len(rows) == 16
    for row in rows:
        assert row["text"] and row["label"] == "all" and row["seed"] > 0 and 0 <= row["generation"] < 3
        assert row["renderer_model"] == "SIMULATED" and row["writer_model"] == "SIMULATED"
        with Image.open(finished.out / "release" / row["file"]) as image:
            image.load()
            assert image.format == "PNG" and image.mode == "RGB"


def test_the_release_loads_as_a_hugging_face_imagefolder(finished, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(finished.out / "release"), cache_dir=str(tmp_path), split="train"
    )
    assert len(loaded) == 16 and {"image", "text", "label"} <= set(loaded.column_names)


def test_run_yaml_holds_the_resolved_configuration_and_its_hash(finished):
    run = yaml.safe_load((finished.out / "run.yaml").read_text())
    assert run["config"]["privacy"]["votes_per_record"] == 1 and run["config"]["evolution"]["lookahead"] == 0
    assert re.fullmatch("[0-9a-f]{64}", run["config_sha256"])


def test_each_generation_has_candidates_and_one_committed_histogram(finished):
    committed = [entry.event for entry in verify(finished.ledger) if entry.kind == "COMMITTED"]
    assert [event.generation for event in committed] == [0, 1, 2]
    for event in committed:
        folder = finished.out / "generations" / f"{event.generation:02d}"
        artifacts = list(folder.glob("histogram-*.arrow"))
        assert [path.name for path in artifacts] == [f"histogram-{event.artifact_sha256}.arrow"]
        _, histogram = artifact.read(artifacts[0])
        candidates = pq.read_table(folder / "candidates.parquet").column("id").to_pylist()
        assert list(histogram.candidate_ids) == candidates and len(candidates) == 24


def test_survivors_are_rendered_and_embedded_once(finished):
    rendered: list[str] = []
    for generation in range(3):
        folder = finished.out / "generations" / f"{generation:02d}"
        rendered += pq.read_table(folder / "renders.parquet").column("candidate_id").to_pylist()
    assert len(rendered) == len(set(rendered))
    last = set(pq.read_table(finished.out / "generations" / "02" / "candidates.parquet").column("id").to_pylist())
    assert any(candidate.startswith("g00-") for candidate in last), "survivors stay"
    assert last <= set(rendered)


def test_the_ledger_has_the_protocol_in_order(finished):
    kinds = [entry.kind for entry in verify(finished.ledger)]
    assert kinds == ["REGISTERED", "OPENED"] + ["RESERVED", "COMMITTED", "RELEASED"] * 3


def test_the_certificate_says_what_the_plan_promised(finished):
    certificate = json.loads((finished.out / "release" / "privacy.json").read_text())
    planned = json.loads(finished.cli("plan", *finished.arguments[1:2], *finished.arguments[4:], "--json").stdout)
    assert certificate["mechanism"]["sigma"] == planned["sigma"]
    assert certificate["epsilon"] == 2.0 and certificate["delta"] == 1e-5
    assert certificate["achieved_epsilon"] <= certificate["epsilon"] < certificate["replace_one_epsilon"]
    assert certificate["ledger"]["head"] in {entry.hash for entry in verify(finished.ledger)}
    head = certificate["ledger"]["head"]
    assert finished.cli("ledger", "verify", str(finished.ledger), "--head", head).returncode == 0


def test_the_internal_folder_is_for_its_owner_only(finished):
    internal = finished.out / "internal"
    assert stat.S_IMODE(internal.stat().st_mode) == 0o700
    for path in internal.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path.name


def test_timings_are_printed_and_written(finished):
    timings = json.loads((finished.out / "internal" / "timings.json").read_text())
    assert timings["stages"]["writer"]["output_tokens_per_s"] > 0
    assert timings["stages"]["renderer"]["units_per_s"] > 0 and timings["peak_memory_bytes"] > 0
    assert "output tokens/s" in finished.stdout and "peak memory" in finished.stdout


def test_progress_is_plain_lines_when_not_a_terminal(finished):
    assert "\x1b" not in finished.stdout and "\r" not in finished.stdout
    assert "generation 3/3: votes" in finished.stdout and "ETA" in finished.stdout


def test_no_file_of_a_run_is_a_pickle(finished):
    """By content: no pickle header, no archive with a pickle in it, no array of objects."""
    assert pickles([finished.out, finished.ledger.parent]) == []


def test_the_same_command_again_does_nothing(finished):
    before = {path: path.stat().st_mtime_ns for path in _files(finished.out)}
    entries = len(verify(finished.ledger))
    again = finished.cli(*finished.arguments)
    assert again.returncode == 0 and "Nothing to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in _files(finished.out)} == before
    assert len(verify(finished.ledger)) == entries


def test_another_configuration_is_refused_by_the_name_of_the_setting(finished):
    other = finished.cli(*finished.arguments, "--set", "privacy.epsilon=3")
    assert other.returncode == 2
    assert "privacy.epsilon was 2.0, now 3.0" in other.stderr and other.stderr.count("\n") == 1


def test_the_report_is_rebuilt_on_request(finished):
    report = finished.out / "release" / "report.html"
    before = report.read_text()
    report.write_text("broken")
    done = finished.cli("report", str(finished.out))
    assert done.returncode == 0 and report.read_text() == before


def test_the_report_shows_gallery_budget_and_histograms_without_network(finished):
    page = (finished.out / "release" / "report.html").read_text()
    rows = pq.read_table(finished.out / "release" / "manifest.parquet").to_pylist()
    assert rows[0]["text"] in page and "data:image/png;base64," in page and "<svg" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?://""", page)
