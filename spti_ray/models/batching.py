"""Padded micro-batches of a fixed size, and the device and dtype of a torch engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from spti_ray.config import EngineConfig
from spti_ray.models.engine_process import threads_of
from spti_ray.models.half_precision import on_cpu

Item = TypeVar("Item")


def padded_batches(items: Sequence[Item], batch_size: int) -> Iterator[tuple[list[Item], int]]:
    """Split items into micro-batches of exactly `batch_size`; the last one is filled by repeating its last item.

    Kernels choose their algorithm by shape, so an item's last bits can depend on the size of its micro-batch. With one
    shape for all, a batch that is tried again gives what it gave before.

    Yields:
        A micro-batch, and how many of its items are real.
    """
    for start in range(0, len(items), batch_size):
        batch = list(items[start : start + batch_size])
        yield batch + [batch[-1]] * (batch_size - len(batch)), len(batch)


def device_of(config: EngineConfig) -> torch.device:
    """The GPU if the engine asks for one, else the CPU, for which torch's number of threads is set.

    Raises:
        RuntimeError: the engine asks for a GPU, but torch sees none.
    """
    if config.num_gpus > 0:
        if not torch.cuda.is_available():
            raise RuntimeError(f"engine {config.kind} wants num_gpus {config.num_gpus}, but torch sees no GPU")
        return torch.device("cuda")
    torch.set_num_threads(threads_of(config))
    return torch.device("cpu")


def dtype_of(config: EngineConfig, auto: torch.dtype) -> torch.dtype:
    """The configured dtype, or `auto` where the configuration says "auto"; float32 for what the CPU would emulate."""
    dtype = auto if config.dtype == "auto" else getattr(torch, config.dtype)
    return dtype if config.num_gpus else getattr(torch, on_cpu(str(dtype).removeprefix("torch.")))
