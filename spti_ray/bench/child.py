"""Runs a measurement in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path


class MeasurementFailed(RuntimeError):
    """A process that measures has failed; one line with the last that it said. The bench sees nothing private."""


def output_of(command: list[str], environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    """What a command prints.

    Args:
        command: a program and its arguments.
        environment: its environment; this process's if not given.
        folder: its working folder; this process's if not given.

    Raises:
        MeasurementFailed: it failed.
    """
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        why = said[-1].strip() if said else f"it said nothing (exit code {done.returncode})"
        raise MeasurementFailed(f"the process that measures failed: {why}")
    return done.stdout
