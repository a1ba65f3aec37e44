"""Whole runs through the command line, with the fake engines and real Arrow, OpenDP and dp-accounting.

What a run leaves does not depend on what starts its shards and engines, so most are runs without Ray. `finished` is one
on Ray, and so are those of the tests about processes that die, of clusters and of what Ray keeps.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spti_ray.models.bundled import package_file
from tests import warm

ROOT = Path(__file__).parents[2]
SMALL = (
    "runtime.engines=fake",
    "evolution.generations=3",
    "evolution.candidates=24",
    "evolution.themes=[]",
    "evolution.variation.rephrase_share=0.5",
    "evolution.voting=joint",
    "release.images=16",
    "release.images_per_text=2",
)
LOCAL = ("runtime.executor=local",)
"""All of a run in one process and a child of it."""
FEW = 103
"""Private images of a run that is not on Ray."""
_DATA = tempfile.TemporaryDirectory(prefix="spti-")  # which is gone when this process ends


@functools.cache
def few_stickers() -> Path:
    """A data set of so many of the bundled stickers."""
    table = pq.read_table(package_file("data/stickers.parquet"))
    path = Path(_DATA.name) / "few.parquet"
    pq.write_table(table.take(list(range(0, table.num_rows, table.num_rows // FEW))[:FEW]), path)
    return path


@dataclass(frozen=True)
class Cli:
    """Runs `spti` as a user does, in its own process, from a working folder of its own."""

    folder: Path

    def __call__(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Start `spti` in a process that has imported it already, and wait for it."""
        models = arguments[:1] == ("evaluate",)
        environment = self.environment()
        return warm.run("spti_ray.cli", *arguments, cwd=self.folder, env=environment, timeout=timeout, models=models)

    def anew(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """The same in a Python that starts anew, as a user's does."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> warm.Process:
        """Start `spti`, warm; what it prints is in `printed.txt`."""
        with (self.folder / "printed.txt").open("ab") as printed:
            out = printed.fileno()
            return warm.start(
                "spti_ray.cli", *arguments, cwd=self.folder, env=self.environment(), stdout=out, stderr=out
            )

    def kill_when(self, arguments: list[str], there: Callable[[], object]) -> None:
        """Start a run and SIGKILL its driver as soon as it has got there."""
        process = self.start(*arguments)
        deadline = time.monotonic() + 180
        while not there():
            assert process.poll() is None, (self.folder / "printed.txt").read_text()
            assert time.monotonic() < deadline, "the run never got there"
            time.sleep(0.001)
        process.kill()
        process.wait()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "spti_ray.cli", *arguments]

    def environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {"HF_HUB_OFFLINE": "1"}

    def run_arguments(self, out: str, *settings: str, ledger: str = "", on_ray: bool = False) -> list[str]:
        where = ledger or self.folder / "ledger"  # not in the folder of the configuration, which all tests share
        kind = () if on_ray else (*LOCAL, f"data.path={few_stickers()}")
        chosen = [f"--set={setting}" for setting in (*SMALL, *kind, f"ledger.path={where}", *settings)]
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
    arguments = cli.run_arguments("run", on_ray=True)
    done = cli(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return Finished(cli, cli.folder / "run", cli.folder / "ledger" / "stickers.jsonl", done.stdout, arguments)
