"""The filters of a release by the command line: planned, run, killed, resumed, verified and exported."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.test_methods import _ok

ENGINES = {
    "writer": {"kind": "fake-writer", "model": "SIMULATED"},
    "captioner": {"kind": "fake-captioner", "model": "SIMULATED"},
    "renderer": {
        "kind": "tests.filter_engines:PlantingRenderer",
        "model": "SIMULATED",
        "batch_size": 2,
        "options": {"blank": 0.2, "same": 0.2, "other": 0.2},
    },
    "image_embedder": {"kind": "tests.filter_engines:JointImages", "model": "SIMULATED"},
    "text_embedder": {"kind": "tests.filter_engines:JointTexts", "model": "SIMULATED"},
}
SETTINGS = (
    f"runtime.engines={json.dumps(ENGINES)}",
    "release.filters={blank: true, duplicate: true, mismatch: {others: 5, max_rank: 2}}",
    "evolution.generations=2",
    "evolution.voting=image",
)


@pytest.fixture
def ours(cli, monkeypatch):
    """The command line, whose processes find the engines of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return cli


@pytest.mark.slow
def test_a_filtered_release_is_planned_and_survives_a_kill_and_is_proved(ours):
    arguments = ours.run_arguments("run", *SETTINGS)
    plan = _ok(ours("plan", arguments[1], *arguments[4:]))
    assert "filters     blank, duplicate, mismatch, by the image embedder and the text embedder" in plan.stdout
    images = ours.folder / "run" / "release.partial" / "images"
    ours.kill_when(arguments, lambda: images.is_dir() and len(list(images.glob("*.png"))) >= 4)
    assert not (ours.folder / "run" / "release").exists()
    said = _ok(ours(*arguments)).stdout
    assert "filters: blank, duplicate, mismatch; " in said and "render(s) were not accepted" in said
    table = pq.read_table(ours.folder / "run" / "release" / "manifest.parquet")
    document = json.loads(table.schema.metadata[b"spti_ray.filters"])
    assert table.num_rows == 16 and sum(document["rejected"].values())
    verified = _ok(ours("verify", "run")).stdout
    assert "release.filters" in verified and " checks hold" in verified
    _ok(ours("export", "run", "--format", "imagefolder", "--out", "published"))
    published = _ok(ours("verify", "published")).stdout
    assert "release.filters" in published and "FAIL" not in published
    page = (ours.folder / "run" / "release" / "report.html").read_text()
    assert "render(s) were not accepted" in page


def test_a_filter_without_engines_for_it_is_refused_at_planning_in_one_line(ours):
    settings = ("runtime.engines=fake", "release.filters.mismatch=true")
    done = ours("plan", str(ROOT / "jobs" / "stickers.yaml"), *(f"--set={setting}" for setting in settings))
    assert done.returncode == 2 and "release.filters.mismatch: compares renders with texts" in done.stderr
    assert done.stderr.strip().count("\n") == 0
