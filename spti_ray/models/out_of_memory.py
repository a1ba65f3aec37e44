"""Engines that run out of memory: smaller micro-batches, from then on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


def retry_in_smaller_batches(engine: Any, method: str, *arguments: Any) -> Any:
    """Call the engine's method; as often as memory runs out, halve its micro-batch (`engine.config.batch_size`).

    What is in a unit stays the same, and the engine keeps the smaller size. At size 1 the error is raised, and so it is
    for an engine that does not keep its configuration.
    """
    while True:
        size = int(engine.config.batch_size) if hasattr(engine, "config") else 1
        try:
            return getattr(engine, method)(*arguments)
        except Exception as error:
            if size == 1 or not _is_out_of_memory(error):
                raise
        # After the handler: the exception's frames hold tensors.
        engine.config = engine.config.model_copy(update={"batch_size": size // 2})
        log.warning("out of memory: micro-batches of %d instead of %d", size // 2, size)
        _empty_gpu_cache()


def largest_fitting_batch(attempt: Callable[[int], Any], most: int) -> int:
    """The largest of 1, 2, 4, ... up to `most` at which `attempt` does not run out of memory.

    Raises:
        Exception: what `attempt` raised at size 1, or of another kind than memory.
    """
    fitting, size = 0, 1
    while size <= most:
        try:
            attempt(size)
        except Exception as error:
            if size == 1 or not _is_out_of_memory(error):
                raise
            break
        fitting, size = size, 2 * size
    _empty_gpu_cache()
    return fitting


def _empty_gpu_cache() -> None:
    """What torch keeps of the GPU's memory without using it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    # By name, since CUDA's is torch's class; on CPU torch raises a RuntimeError of its allocator.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
