"""Checks that the settings of engines fit `runtime` and one another. Imports no heavy library."""

from __future__ import annotations

from spti_ray.config import EnginesConfig, RuntimeConfig
from spti_ray.models.endpoint_options import LONGEST_BATCH_S


def check_batch_timeout(runtime: RuntimeConfig, engines: EnginesConfig) -> None:
    """Check that the runtime waits long enough for the writer's endpoint, if that works in batches of its own.

    Raises:
        ValueError: it does not; one line.
    """
    writer = engines.writer
    if writer.kind != "openai" or not writer.options.get("batch"):
        return
    if runtime.unit_timeout_s < LONGEST_BATCH_S:
        raise ValueError(
            f"runtime.unit_timeout_s: is {runtime.unit_timeout_s:g}, but a batch of the writer may take "
            f"{LONGEST_BATCH_S:g} s (options.batch): set it at least so high"
        )


def check_gpu_time_sharing(runtime: RuntimeConfig, engines: EnginesConfig) -> None:
    """Check that the roles of `runtime.take_turns` can share their GPUs.

    Raises:
        ValueError: one line that names the setting.
    """
    roles = runtime.take_turns
    for role in roles:
        engine, where = engines.of(role), f"runtime.engines.{role}"
        if not 0 < engine.num_gpus < 1:
            raise ValueError(
                f"{where}.num_gpus: is {engine.num_gpus:g}, but who takes turns has a share of one GPU: 0.5"
            )
        if engine.max_replicas not in (None, engine.replicas):
            raise ValueError(f"{where}.max_replicas: who takes turns does not grow: leave it out")
    for name in ("replicas", "accelerators"):
        if len({getattr(engines.of(role), name) for role in roles}) > 1:
            raise ValueError(f"runtime.engines: {' and '.join(roles)} take turns on one GPU and need the same {name}")
    if len({tuple(sorted(runtime.node_labels.get(role, {}).items())) for role in roles}) > 1:
        raise ValueError(f"runtime.node_labels: {' and '.join(roles)} take turns on one GPU and need the same labels")
    if sum(engines.of(role).num_gpus for role in roles) > 1:
        raise ValueError(f"runtime.engines: num_gpus of {' and '.join(roles)}, who take turns, make more than one GPU")
