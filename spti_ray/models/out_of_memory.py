"""Handles engines that run out of memory: from then on they use smaller micro-batches."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


def retry_in_smaller_batches(engine: Any, method: str, *arguments: Any) -> Any:
    """Call an engine's method, and halve its micro-batch (`engine.config.batch_size`) each time that memory runs out.

    The batch that is sent stays the same, and the engine keeps the smaller micro-batch.

    Args:
        engine: The engine.
        method: The name of its method.
        *arguments: The method's arguments.

    Returns:
        The method's result.

    Raises:
        Exception: whatever the method raised that was not about memory, or at micro-batches of 1, or from an engine
            without `config`.
    """
    while True:
        size = int(engine.config.batch_size) if hasattr(engine, "config") else 1
        try:
            return getattr(engine, method)(*arguments)
        except Exception as error:
            if size == 1 or not _is_out_of_memory(error):
                raise
        # Only here, after the handler: the exception's frames keep tensors in memory.
        engine.config = engine.config.model_copy(update={"batch_size": size // 2})
        log.warning("out of memory: micro-batches of %d instead of %d", size // 2, size)
        _empty_gpu_cache()


def largest_fitting_batch(attempt: Callable[[int], Any], most: int) -> int:
    """Find the largest of 1, 2, 4, ... up to `most` with which `attempt` does not run out of memory.

    Raises:
        Exception: what `attempt` raised at size 1, or that was not about memory.
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
    """Free the GPU memory that torch keeps without using it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    # CUDA's error is a class of torch, which is not imported here; on CPU torch raises a RuntimeError.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
