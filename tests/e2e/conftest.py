"""Whole runs through the command line, with the fake engines and real Ray, Arrow, OpenDP and dp-accounting."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    "runtime.engines=fake",
    "evolution.generations=3",
    "evolution.candidates=24",
    "evolution.voting=joint",
    "release.images=16",
    "release.images_per_text=2",
)


@dataclass(frozen=True)
class Cli:
    """Runs `spti` as a user does, in its own process, from a working folder of its own."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "spti_ray.cli", *arguments]

    def __call__(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {"HF_HUB_OFFLINE": "1"}

    def run_arguments(self, out: str, *settings: str, ledger: str = "") -> list[str]:
        where = ledger or self.folder / "ledger"  # not in the folder of the configuration, which all tests share
        chosen = [f"--set={setting}" for setting in (*SMALL, f"ledger.path={where}", *settings)]
        return ["run", str(ROOT / "jobs" / "stickers.yaml"), "--out", out, *chosen]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@dataclass(frozen=True)
class Finished:
    cli: Cli
    out: Path
    ledger: Path
    stdout: str
    arguments: list[str]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One finished run, shared by the tests that only look."""
    cli = Cli(tmp_path_factory.mktemp("finished"))
    arguments = cli.run_arguments("run")
    done = cli(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return Finished(cli, cli.folder / "run", cli.folder / "ledger" / "stickers.jsonl", done.stdout, arguments)
