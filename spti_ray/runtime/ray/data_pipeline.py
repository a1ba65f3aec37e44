"""Stages through Ray Data's actor pools, with order kept: what our own pools are compared with (`spti bench`)."""

from __future__ import annotations

import logging
import time
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext

_START_S = 300
"""For so long the actors of a stage may take to start; a stage begins when all are up."""


class _Stage:
    """SIMULATED: an engine that takes a while for each unit, and notes when."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        began = time.time()
        time.sleep(self._seconds * len(batch["id"]))
        first = batch.get("began", [began] * len(batch["id"]))
        return {"id": batch["id"], "began": first, "ended": [time.time()] * len(batch["id"])}


def data_pipeline_s(stages: int, num_actors: int, units: int, seconds: float, units_per_block: int = 1) -> float:
    """Seconds from the first unit's start to the last unit's end, on Ray Data's streaming executor with warm actors.

    Args:
        stages: Stages that each unit goes through, one after the other.
        num_actors: Actors of each stage.
        units: How many there are.
        seconds: That a unit takes in a stage.
        units_per_block: Units that go through the stages together, as one block of Ray Data.

    Raises:
        RuntimeError: units are missing or not in order.
    """
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = _START_S
    context.issue_detectors_config.detectors = []  # Each warns several times a minute that the engines are idle.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    stream = ray.data.range(units, override_num_blocks=max(1, units // units_per_block)).materialize()
    for _ in range(stages):
        stream = stream.map_batches(
            _Stage,
            fn_constructor_args=(seconds,),
            batch_size=None,
            compute=ActorPoolStrategy(size=num_actors),
            num_cpus=0.01,
        )
    rows = list(stream.iter_rows())
    if [row["id"] for row in rows] != list(range(units)):
        raise RuntimeError("Ray Data lost units, or their order")
    return max(row["ended"] for row in rows) - min(row["began"] for row in rows)
