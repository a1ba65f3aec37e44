"""Measures a small run against a plain script that calls the same models in one process: time, CPU and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import yaml

from spti_ray.step_progress import Told

GENERATIONS, CANDIDATES, IMAGES = 2, 64, 20

_LOOK_S = 0.2
_MEMORY_EVERY = 5
"""Looks: to add up what processes share takes time itself."""


def script(told: Told = lambda what, done, total: None) -> dict[str, Any]:
    """Wall seconds, CPU seconds and peak memory (shared pages counted once) of both, and the ratios of ours to theirs.

    Returns:
        `run`, `script`: the figures; `wall`, `cpu`, `memory`: the ratios; `first_text_s`: when the run had a text.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "small.yaml"
        config.write_text(yaml.safe_dump(small_config(folder)))
        told("the script", 0, 2)
        theirs = measured(["-m", "spti_ray.bench.plain_script", str(config), str(folder / "images")])
        told("the run", 1, 2)
        ours = measured(["-m", "spti_ray.cli", "run", str(config), "--out", str(folder / "run")])
        timings = json.loads((folder / "run" / "internal" / "timings.json").read_text(encoding="utf-8"))
    ratios = {key: round(ours[figure] / theirs[figure], 4) for key, figure in _FIGURES.items()}
    return {"run": ours, "script": theirs, **ratios, "first_text_s": timings["first_text_s"]}


_FIGURES = {"wall": "wall_s", "cpu": "cpu_s", "memory": "peak_memory_mb"}


def small_config(folder: Path) -> dict[str, Any]:
    """The demo, made small: its ledger is in `folder`."""
    package = resources.files("spti_ray") / "package_data"
    tree: dict[str, Any] = yaml.safe_load((package / "configs" / "stickers.yaml").read_text(encoding="utf-8"))
    tree["data"]["path"] = str(package / "data" / "stickers.parquet")
    tree["ledger"] = {"path": str(folder / "ledger")}
    tree["evolution"] |= {"generations": GENERATIONS, "candidates": CANDIDATES, "themes": []}
    tree["release"] = {"images": IMAGES}
    return tree


def measured(arguments: list[str]) -> dict[str, float]:
    """Run Python with these arguments, and watch it and its children.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cpu_s: dict[tuple[int, float], float] = {}
    peak, look = 0, 0
    while process.poll() is None:
        used = 0
        for one in _family(process.pid):
            try:
                times = one.cpu_times()
                cpu_s[one.pid, one.create_time()] = times.user + times.system
                if look % _MEMORY_EVERY == 0:
                    used += one.memory_full_info().pss
            except psutil.Error:  # it has ended
                continue
        peak, look = max(peak, used), look + 1
        time.sleep(_LOOK_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    wall_s = time.perf_counter() - began
    return {"wall_s": round(wall_s, 2), "cpu_s": round(sum(cpu_s.values()), 2), "peak_memory_mb": peak // 2**20}


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []
