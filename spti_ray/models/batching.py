"""Fixed, padded micro-batches, and where and in which precision a torch engine runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from spti_ray.config import EngineConfig

Item = TypeVar("Item")


def padded_batches(items: Sequence[Item], batch_size: int) -> Iterator[tuple[list[Item], int]]:
    """Yield (batch, number of real items); the last batch is filled by repeating its last item.

    Kernels choose their algorithm by shape, so an item's last bits can depend on the batch size. With one shape for
    every batch, a retried unit gives what it gave before.
    """
    for start in range(0, len(items), batch_size):
        batch = list(items[start : start + batch_size])
        yield batch + [batch[-1]] * (batch_size - len(batch)), len(batch)


def device_of(config: EngineConfig) -> torch.device:
    """The GPU if the engine asks for one, else the CPU with `threads` threads."""
    if config.num_gpus > 0:
        if not torch.cuda.is_available():
            raise RuntimeError(f"engine {config.kind} wants num_gpus {config.num_gpus}, but torch sees no GPU")
        return torch.device("cuda")
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    return torch.device("cpu")


def dtype_of(config: EngineConfig, auto: torch.dtype) -> torch.dtype:
    """The configured dtype; `auto` is the role's usual one."""
    return auto if config.dtype == "auto" else getattr(torch, config.dtype)
