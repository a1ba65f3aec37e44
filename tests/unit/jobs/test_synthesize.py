"""jobs/synthesize.py: `spti run` as the entry point of a job."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def synthesize(cwd, *arguments, **environment):
    command = [sys.executable, str(ROOT / "jobs" / "synthesize.py"), "--config", str(ROOT / "jobs" / "stickers.yaml")]
    result = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
        cwd=cwd,
    )
    return result.returncode, result.stdout + result.stderr


def test_inside_a_job_a_relative_folder_is_refused_since_it_would_go_with_the_job(tmp_path):
    code, text = synthesize(tmp_path, "--out", "runs/a", RAY_JOB_CONFIG_JSON_ENV_VAR="{}")
    assert code == 2 and "is relative" in text


def test_settings_reach_the_run_and_its_errors_come_back(tmp_path):
    code, text = synthesize(tmp_path, "--out", str(tmp_path / "a"), "--set", "privacy.epsilom=1")
    assert code == 2 and text == "spti: privacy.epsilom: unknown key; did you mean 'epsilon'?\n"
