"""Small runs on local processes with the fake engines, on 30 tiny images; their noise is a function of the counts.

Equal counts so make equal runs, whatever interrupted them or wherever they ran. As a script it is a driver that is
killed: `local_runs.py CONFIG OUT STAGE NOTE` runs the configuration, and when the stage begins it writes the ids of the
processes that it started into NOTE and ends itself by SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from spti_ray.config import Config
from spti_ray.config.identity import resolved
from spti_ray.config.loading import parse_config
from spti_ray.dp import artifact
from spti_ray.dp.mechanism import SeededNoise
from spti_ray.driver.driver import run_config
from spti_ray.observability.trace import Trace
from spti_ray.provenance.png_chunks import with_xmp
from spti_ray.types import CountArray

NUM_IMAGES = 30


class NoiseOfCounts:
    private = False
    name = "SIMULATED: noise that is a function of the counts"

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        return SeededNoise(zlib.crc32(counts_K.tobytes())).add_noise(counts_K, sigma)


def plant_images(folder: Path) -> Path:
    """A folder of images of one colour each, and one that is none."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for number in range(NUM_IMAGES):
        pixels = np.full((16, 16, 3), rng.integers(0, 255, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (folder / "99.png").write_bytes(b"no image")
    return folder


def run(config: Config, out: Path, **more: Any) -> Path:
    """Run it, or go on with it, without a word; returns the release."""
    return run_config(config, out, Console(quiet=True), **{"noise": NoiseOfCounts()} | more)


@contextmanager
def at_stage(stage: str, act: Callable[[], None]) -> Iterator[None]:
    """Within, `act` is called when a run begins a stage of its timeline, such as `votes 1`."""
    begin = Trace.stage

    def begun(trace: Trace, name: str, generation: int | None = None) -> None:
        begin(trace, name, generation)
        if stage == (name if generation is None else f"{name} {generation}"):
            act()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trace, "stage", begun)
        yield


def made_by(out: Path) -> dict[str, Any]:
    """What a run made, without its times and its name, which its images say: candidates, noised histograms, release."""
    made: dict[str, Any] = {}
    for path in sorted((out / "generations").rglob("candidates.parquet")):
        made[f"{path.parent.name} candidates"] = pq.read_table(path).to_pydict()
        (histogram,) = path.parent.glob("histogram-*.arrow")
        made[f"{path.parent.name} histogram"] = artifact.read(histogram)[1].counts_K.tolist()
    for path in sorted((out / "release").rglob("*.png")):
        made[path.name] = with_xmp(path.read_bytes(), None)
    made["manifest"] = pq.read_table(out / "release" / "manifest.parquet").drop_columns("sha256").to_pydict()
    return made


def _main(config: str, out: str, stage: str, note: str) -> None:
    def end() -> None:
        Path(note).write_text(json.dumps([child.pid for child in psutil.Process().children(recursive=True)]))
        os.kill(os.getpid(), signal.SIGKILL)

    with at_stage(stage, end):
        run(parse_config(json.loads(Path(config).read_text())), Path(out))


def written(config: Config, path: Path) -> Path:
    """The configuration as a file that `local_runs.py` takes."""
    path.write_text(json.dumps(resolved(config)))
    return path


if __name__ == "__main__":
    _main(*sys.argv[1:])
