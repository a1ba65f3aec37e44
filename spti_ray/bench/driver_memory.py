"""Measures the driver's memory while many SIMULATED engines render and embed images of a real size.

`python -m spti_ray.bench.driver_memory ENGINES`, a process for each number: memory that was in use once stays with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spti_ray.bench.child import output_of
from spti_ray.bench.pools import LIMITS, engines_of
from spti_ray.config import EngineConfig
from spti_ray.public.engines import RenderJob
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.events import Finished, Outcome
from spti_ray.runtime.scheduling.image_budget import ImageBudget
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents
from spti_ray.step_progress import Told
from spti_ray.types import RenderBatch

IMAGES, IMAGE_BYTES = 16, 400_000
BATCHES_PER_ENGINE = 8
STORE_BYTES_PER_ENGINE = 10 << 30
"""What a node with one GPU gives to Ray's object store, about a third of its memory."""

MOST_GROWTH, MOST_BYTES_PER_ENGINE = 1.2, 20_000
"""The target: from 100 engines to 10,000 memory grows at most to 1.2 times, and 20 KB for each engine."""


@dataclass(frozen=True, slots=True)
class _Reference:
    """An image that lies with its renderer."""

    num_bytes: int = IMAGE_BYTES

    def read(self) -> bytes:
        raise NotImplementedError


_BATCH = (_Reference(),) * IMAGES
"""As little as what `runtime.ray.images` has of a batch: one object."""


class _Events(SimulatedEvents):
    def call(self, actor: Any, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        super().call(actor, arguments, _with_result(arguments, done))

    def call_several(self, actor: Any, batches: Sequence[tuple[tuple[Any, ...], Callable[[Outcome], None]]]) -> None:
        super().call_several(actor, [(arguments, _with_result(arguments, done)) for arguments, done in batches])


def _with_result(arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
    """`done`, told of what an engine would have made of these."""
    (batch,) = arguments
    made: Any = _BATCH if isinstance(batch, RenderBatch) else [0] * len(batch)
    return lambda outcome: done(replace(outcome, result=made) if isinstance(outcome, Finished) else outcome)


def peak(num_engines: int) -> dict[str, float]:
    """Run it here. Returns the peak of this process in MB, and of the images that waited in GB."""
    events = _Events()
    # The first batch takes as long as twenty others, which wait for it.
    renderers = [
        SimulatedActor(lambda batch: 60.0 if batch.seeds[0] == 0 and len(batch) else 3.0) for _ in range(num_engines)
    ]
    embedders = [SimulatedActor(lambda batch: 0.5) for _ in range(-(-num_engines // 5))]
    budget = ImageBudget(lambda: num_engines * STORE_BYTES_PER_ENGINE // 3)
    pools: Any = {
        "renderer": Pool("renderer", renderers, events, LIMITS, images=budget),
        "image_embedder": Pool("image_embedder", embedders, events, LIMITS),
    }
    settings = EngineConfig(kind="fake", model="SIMULATED", batch_size=IMAGES)
    streams = PooledEngines(pools, engines_of({"renderer": settings, "image_embedder": settings}))
    count = num_engines * BATCHES_PER_ENGINE * IMAGES
    images: Any = streams.render(RenderJob("a picture", number) for number in range(count))
    done = sum(1 for _ in streams.embed_images(images))
    if done != count:
        raise RuntimeError("images were lost")
    return {"engines": num_engines, "driver_mb": round(peak_kib() / 1024, 1), "waiting_gb": round(budget.peak / 1e9, 2)}


def peak_kib() -> int:
    """The most memory that this program had in use, in KiB, by Linux.

    `ru_maxrss` is no less than the peak of the process that started this one (findings/ru-maxrss-of-a-child.sh).
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def memory(sizes: tuple[int, int] = (100, 10_000), told: Told = lambda what, done, total: None) -> dict[str, Any]:
    """Peaks at both sizes, each in a process of its own; `told` is told of each.

    Returns:
        The peaks, and `over_bound`: the larger over what the target allows; at most 1 if it is reached.

    Raises:
        MeasurementFailed: a process failed; one line.
    """
    rows: list[dict[str, float]] = []
    for size in sizes:
        told(f"{size:,} engines", len(rows), len(sizes))
        rows.append(_in_a_process(size))
    small, large = (row["driver_mb"] for row in rows)
    allowed = MOST_GROWTH * small + MOST_BYTES_PER_ENGINE * sizes[1] / 2**20
    return {"engines": "SIMULATED", "images": IMAGES, "image_bytes": IMAGE_BYTES, "peaks": rows} | {
        "over_bound": round(large / allowed, 4)
    }


def _in_a_process(size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "spti_ray.bench.driver_memory", str(size)]
    return json.loads(output_of(command))


if __name__ == "__main__":
    print(json.dumps(peak(int(sys.argv[1]))))
