"""A run whose clean counts a test may see: `chaos_driver.py CONFIG OUT PROBE ADDRESS SETTING...`.

The noise source sees the clean counts, and this one tells: it appends them to PROBE, with each stage of the run's
trace. Its noise is a function of the counts, so that equal counts make equal runs. SIMULATED, of course: the
certificate says that nothing here is private.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any

from spti_ray.config.loading import load_config
from spti_ray.dp.mechanism import SeededNoise
from spti_ray.driver import driver
from spti_ray.observability.trace import Trace
from spti_ray.types import CountArray


class Probe:
    private = False
    name = "SIMULATED: noise from the counts, which a test looks at"

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, **what: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        self.tell(counts=counts_K.tolist())
        return SeededNoise(zlib.crc32(counts_K.tobytes())).add_noise(counts_K, sigma)


def main(config: str, out: str, probe: str, address: str, *settings: str) -> None:
    told = Probe(Path(probe))
    stage = Trace.stage

    def told_stage(trace: Trace, name: str, generation: int | None = None) -> None:
        told.tell(stage=name if generation is None else f"{name} {generation}")
        stage(trace, name, generation)

    Trace.stage = told_stage
    joined = [f"runtime.address={address}"] if address else []
    driver.run_config(load_config(Path(config), [*settings, *joined]), Path(out), noise=told)


if __name__ == "__main__":
    main(*sys.argv[1:])
