"""Which executor a run has, by `runtime.executor`. Only that one is imported: Ray takes seconds to load."""

from __future__ import annotations

from spti_ray.config import Config
from spti_ray.runtime.executor import Executor


def executor_of(config: Config) -> Executor:
    """Where the configuration wants its engines and shards."""
    if config.runtime.executor == "local":
        from spti_ray.runtime.local.executor import LocalExecutor

        return LocalExecutor()
    from spti_ray.runtime.ray.executor import RayExecutor

    return RayExecutor()
