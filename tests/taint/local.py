"""Runs on local processes with the engines and faults of this folder: they read `folder`/in and leave `folder`/left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.taint.cluster import PYTHONPATH
from tests.taint.faults import plant_in
from tests.taint.scan import find_in_bytes, find_in_files

ENGINES = {
    "writer": "Writer",
    "renderer": "Renderer",
    "captioner": "Captioner",
    "image_embedder": "ImageEmbedder",
    "text_embedder": "TextEmbedder",
}


@dataclass(frozen=True)
class LocalRun:
    """A run that is started once or more by the command line, each Python logger at DEBUG."""

    home: Path
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "in" / "data"

    @property
    def out(self) -> Path:
        return self.folder / "left" / "run"

    def configure(self, **changes: Any) -> None:
        for name in ("in", "left", "notes"):
            (self.folder / name).mkdir()
        options = {"notes": str(self.folder / "notes"), "chatty": True}
        common = {"model": "SIMULATED", "batch_size": 4, "options": options}
        config: dict[str, Any] = {
            "data": {"path": str(self.data)},
            "dataset": {"id": "toys"},
            "privacy": {"epsilon": 8.0, "delta": 1e-5, "spare_slots": 1},
            "evolution": {"generations": 2, "candidates": 12, "voting": "joint", "lookahead": 1},
            "prompts": {
                "domain": "toys",
                "attributes": {"subject": ["cat", "car", "apple"], "color": ["red", "blue"]},
                "examples": ["a brown dog", "a big red ball"],
                "rephrase_examples": [{"text": "a brown dog", "new": "a black dog"}],
                "fill_examples": [{"blanks": "a _ dog", "filled": "a small dog"}],
            },
            "release": {"images": 4},
            "ledger": {"path": str(self.folder / "left" / "ledger")},
            "runtime": {
                "executor": "local",
                "engines": {role: {"kind": f"tests.taint.engines:{ENGINES[role]}", **common} for role in ENGINES},
            },
        }
        for section, values in changes.items():
            config[section] = config[section] | values if isinstance(values, dict) else values
        (self.folder / "in" / "run.yaml").write_text(json.dumps(config))

    def start(
        self, faults: dict[str, tuple[str, int]] | None = None, command: str = "run", task: dict[str, Any] | None = None
    ) -> tuple[int, list[str]]:
        """Start the run, or go on with it, with faults as `plant_in` takes them; its exit code and error lines.

        With a `task` it is `spti measure` of the finished run.
        """
        plant_in(self.home, faults or {})
        arguments = [command, str(self.folder / "in" / "run.yaml"), "--out", "run"]
        if task is not None:
            (self.folder / "in" / "task.yaml").write_text(json.dumps(task))
            arguments = ["measure", "run", "--task", str(self.folder / "in" / "task.yaml")]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        done = subprocess.run(
            [sys.executable, "-m", "spti_ray.cli", *arguments],
            cwd=self.folder / "left",
            env=kept | {"TAINT_HOME": str(self.home), "PYTHONPATH": PYTHONPATH, "HF_HUB_OFFLINE": "1"},
            text=True,
            capture_output=True,
            timeout=200,
            check=False,
        )
        with open(self.folder / "left" / "printed.txt", "a") as printed:
            printed.write(done.stdout + done.stderr)
        assert "Traceback" not in done.stdout
        # All else there is what libraries log at DEBUG.
        return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("spti: ")]

    def noted(self, side: str, role: str) -> str:
        """The requests that an engine got on the public or private side."""
        path = self.folder / "notes" / f"{side}-{role}.txt"
        return path.read_text() if path.exists() else ""

    def leaks(self) -> list[str]:
        """Each canary in what the run left or printed, and in public requests of engines."""
        found = find_in_files([self.folder / "left"])
        for path in sorted((self.folder / "notes").glob("public-*")):
            found += [f"{path.name}: {how}" for how in find_in_bytes(path.read_bytes())]
        return found
