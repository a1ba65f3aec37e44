"""Runs a file of the bench on another checkout, such as an older build, and compares the figures."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spti_ray.bench.child import output_of


def compared_with(
    checkout: Path, file: str, arguments: tuple[str, ...], here: dict[str, Any], is_figure: Callable[[str], bool]
) -> dict[str, Any]:
    """The figures of another checkout, measured now, and the ratios of this build's to them.

    The file is copied, and run there as a module of its own, so it may use only what that build has too.

    Args:
        checkout: Its folder; its dependencies are those of this interpreter.
        file: The file that measures. Run as a program it prints its figures as JSON, in one line, the last.
        arguments: Of that program.
        here: What it has measured of this build.
        is_figure: Which of the names in it are figures to compare.

    Raises:
        MeasurementFailed: that program failed; one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(file, folder)
        environment = os.environ | {"PYTHONPATH": f"{checkout.resolve()}{os.pathsep}{folder}"}
        command = [sys.executable, "-m", Path(file).stem, *arguments]
        printed = output_of(command, environment, Path(folder))
    there = json.loads(printed.splitlines()[-1])
    ratios = {name: round(here[name] / there[name], 4) for name in here if is_figure(name) and name in there}
    return {"there": there, "ratios": ratios}
