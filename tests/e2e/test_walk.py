"""The commands of docs/how-to/walk.md, on a few images and with simulated engines."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import parse_config
from spti_ray.runs.run_file import read_run
from spti_ray.show import server
from tests.snippets import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "walk.md"
IMAGES = Path(__file__).parent / "clipart"
SIMULATED = "--set runtime.engines=fake --set runtime.executor=local".split()
SMALL = "--set evolution.candidates=48 --set evolution.themes=[6] --set release.images=8".split()
MORE = {"init": SIMULATED, "plan": SIMULATED + SMALL, "check": SIMULATED + SMALL, "run": SIMULATED + SMALL}


@pytest.fixture
def walked(tmp_path, monkeypatch):
    """What each command of the page said, in its order; the commands."""
    shutil.copytree(IMAGES, tmp_path / "private", ignore=shutil.ignore_patterns("README.md"))
    monkeypatch.chdir(tmp_path)
    shown: list[Path] = []
    monkeypatch.setattr(server, "serve", lambda folder, port, internal, started: shown.append(folder))
    said: list[tuple[list[str], str]] = []
    for block in blocks(PAGE, "sh")[1:]:
        for line in block.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "spti"
            result = CliRunner().invoke(app, [*words, *MORE.get(words[0], [])])
            assert result.exit_code == 0, (words, result.output)
            said.append((words, result.output))
    assert shown == [Path("runs/clipart")]
    return said


def test_the_walk_ends_in_an_export_that_the_ledger_proves(walked, tmp_path):
    assert [words[0] for words, _ in walked] == [
        *("init", "plan", "check", "plan", "run", "show", "verify", "export", "verify")
    ]
    assert "checks hold" in walked[-1][1] and "FAIL" not in walked[-1][1]
    assert len(list((tmp_path / "published" / "clipart" / "images").iterdir())) == 8
    assert (tmp_path / "runs" / "clipart" / "internal" / "check.html").is_file()
    config = parse_config(read_run(tmp_path / "runs" / "clipart")["config"])
    assert config.dataset.id == "clipart" and config.evolution.label_names == ("animals", "food", "plants", "tools")
