"""jobs/curve.py with the real commands and the fake engines: a small study, from nothing to its report."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

STUDY = """
config: {config}
set: [runtime.engines=fake, runtime.executor=local, evolution.candidates=12, evolution.generations=2, release.images=12,
      ledger.path={ledger}]
seeds: [0]
size: 12
epsilons: [1]
methods: {{spti: []}}
once: {{random: []}}
ratios:
  final over generation 0: {{of: spti@1, over: random, at_most: 100}}
"""


def test_a_study_is_run_and_reported_by_one_command_and_not_twice(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(config=ROOT / "jobs" / "stickers.yaml", ledger=tmp_path / "ledger"))
    work = tmp_path / "work"
    command = [sys.executable, "-m", "jobs.curve", "--study", str(study), "--work", str(work)]

    def call():
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=500)

    done = call()
    assert done.returncode == 0, done.stdout + done.stderr
    text = (work / "report.md").read_text()
    assert "NOT THERE YET" not in text and "| final over generation 0 | " in text and "| met |" in text
    figures = json.loads((work / "figures.json").read_text())["cells"]
    assert set(figures) == {"spti@1-seed0", "random-seed0"}
    assert all(cell["release"][0]["num_generated"] == 12 for cell in figures.values())
    assert [len(figures[cell]["generations"]) for cell in ("spti@1-seed0", "random-seed0")] == [2, 0]
    assert (work / "generations.png").read_bytes().startswith(b"\x89PNG")
    assert not (work / "ablations.png").exists() and not (work / "curve.png").exists(), "nothing to draw"
    again = call()
    assert again.returncode == 0 and "2 cells, 2 are there" in again.stdout
