"""Checks `options.extra` of vLLM's engines against the installed vLLM, and how many GPUs one of them wants.

vLLM is not imported: the names of its arguments are read from its source. Where it is not installed, as on a machine
that only plans, names are not checked.
"""

from __future__ import annotations

import math
from typing import Any

from spti_ray.config import EngineConfig
from spti_ray.config.validation_errors import nearest
from spti_ray.models.installed_source import class_in, fields_of

_PARALLEL = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "prefill_context_parallel_size",
    "data_parallel_size",
)
"""Arguments by whose product vLLM starts workers, each with a GPU of its own."""


def check_extra(where: str, config: EngineConfig) -> None:
    """Check that vLLM takes what `options.extra` names.

    Args:
        where: The flat name of the engine's settings, such as `runtime.engines.writer`.
        config: Of kind `vllm` or `vllm-vision`.

    Raises:
        ValueError: it does not; one line.
    """
    extra: dict[str, Any] = config.options.get("extra") or {}
    # Without a key there is nothing to read 3,000 lines for.
    taken = _arguments(asynchronous=config.kind == "vllm") if extra else frozenset[str]()
    for name in extra if taken else ():
        if name not in taken:
            raise ValueError(
                f"{where}.options.extra: the installed vLLM takes no {name!r}{nearest(name, sorted(taken))}"
            )


def check_workers(where: str, config: EngineConfig) -> None:
    """Check that a replica has one GPU for each of vLLM's workers, which are processes of one node.

    Args:
        where: The flat name of the engine's settings, such as `runtime.engines.writer`.
        config: Of kind `vllm` or `vllm-vision`.

    Raises:
        ValueError: it has more or fewer; one line.
    """
    workers = num_workers(where, config.options)
    if config.kind == "vllm-vision" and max(config.num_gpus, workers) > 1:
        # With several GPUs, workers would be processes of their own, whose output is not suppressed.
        setting, value = ("num_gpus", config.num_gpus) if config.num_gpus > 1 else ("options.extra", workers)
        raise ValueError(f"{where}.{setting}: is {value:g}, but a captioner in vLLM has one: use replicas")
    if math.ceil(config.num_gpus) != workers and (config.num_gpus > 1 or workers > 1):
        raise ValueError(
            f"{where}.num_gpus: is {config.num_gpus:g}, but tensor_parallel_size, with what `extra` has of its kind, "
            f"asks for {workers} GPU(s) of one node"
        )


def num_workers(where: str, options: dict[str, Any]) -> int:
    """How many processes an engine with these options has, each with a GPU; `extra` wins, as in `vllm_arguments`.

    Raises:
        ValueError: a size is no whole number of at least 1; one line that begins with `where`.
    """
    extra: dict[str, Any] = options.get("extra") or {}
    given = {name: options[name] for name in _PARALLEL if options.get(name) is not None} | extra
    sizes = {name: given[name] for name in _PARALLEL if given.get(name) is not None}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{where}.options.extra.{name}: should be a whole number of at least 1 (got {size!r})")
    return math.prod(sizes.values())


def _arguments(asynchronous: bool) -> frozenset[str]:
    """Names of the arguments of vLLM's engines; empty where vLLM is not installed."""
    classes = ("EngineArgs", "AsyncEngineArgs") if asynchronous else ("EngineArgs",)
    found = [class_in("vllm", "engine/arg_utils.py", name) for name in classes]
    return frozenset[str]().union(*(fields_of(definition) for definition in found if definition))
