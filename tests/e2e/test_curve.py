"""jobs/curve.py with the real commands and the fake engines: a small study, from nothing to its report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import curve
from jobs.sweep import run
from tests.e2e.conftest import Cli, few_stickers

ROOT = Path(__file__).parents[2]

STUDY = """
config: {config}
set: [runtime.engines=fake, runtime.executor=local, evolution.candidates=12, evolution.generations=2,
      "evolution.themes=[]", release.images=12, data.path={data}, ledger.path={ledger}]
seeds: [0]
size: 12
epsilons: [1]
methods: {{spti: []}}
once: {{random: []}}
ratios:
  final over generation 0: {{of: spti@1, over: random, at_most: 100}}
"""


@pytest.fixture
def commands_are_warm(monkeypatch, tmp_path):
    """What the study starts is `spti` all the same, in a process that has imported it already."""
    command = list(run._CLI)
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.startswith("spti")

    def warm(words, output):
        assert words[: len(command)] == command
        done = Cli(tmp_path)(*words[len(command) :])
        output.write(done.stdout + done.stderr)
        return done.returncode

    monkeypatch.setattr(run, "_ended", warm)


@pytest.mark.slow
def test_a_study_is_run_and_reported_by_one_command_and_not_twice(tmp_path, monkeypatch, capsys, commands_are_warm):
    study = tmp_path / "study.yaml"
    settings = {"config": ROOT / "jobs" / "stickers.yaml", "data": few_stickers(), "ledger": tmp_path / "ledger"}
    study.write_text(STUDY.format(**settings))
    work = tmp_path / "work"
    monkeypatch.setattr(sys, "argv", ["curve", "--study", str(study), "--work", str(work)])

    assert curve.main() == 0
    text = (work / "report.md").read_text()
    assert "NOT THERE YET" not in text and "| final over generation 0 | " in text and "| met |" in text
    figures = json.loads((work / "figures.json").read_text())["cells"]
    assert set(figures) == {"spti@1-seed0", "random-seed0"}
    assert all(cell["release"][0]["num_generated"] == 12 for cell in figures.values())
    assert [len(figures[cell]["generations"]) for cell in ("spti@1-seed0", "random-seed0")] == [2, 0]
    assert (work / "generations.png").read_bytes().startswith(b"\x89PNG")
    assert not (work / "ablations.png").exists() and not (work / "curve.png").exists(), "nothing to draw"
    assert curve.main() == 0 and "2 cells, 2 are there" in capsys.readouterr().out
