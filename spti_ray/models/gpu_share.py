"""What a share of a GPU is worth: the same share of its memory.

Ray counts shares and enforces nothing. Without a limit an engine that was given a quarter takes what it finds, and it
is another engine on that GPU which runs out.
"""

from __future__ import annotations

from spti_ray.config import EngineConfig
from spti_ray.models.factory import endpoint_of, is_vllm
from spti_ray.types import SIMULATED

ROOM = 0.9
"""How much of its share vLLM fills: the rest is for what it does not count, as a CUDA context."""


def share_of(config: EngineConfig, takes_turns: bool) -> float:
    """The share of a GPU's memory that an engine may use, in (0, 1]: all of it where it has a whole GPU or a turn."""
    return config.num_gpus if 0 < config.num_gpus < 1 and not takes_turns else 1.0


def hold_torch_to_share(config: EngineConfig, takes_turns: bool = False) -> None:
    """Limit torch's memory on the GPU of this process to the engine's share.

    torch counts a process as a whole, so this is for a process with one engine. What it allocates beyond the share
    raises an out-of-memory error, after which a renderer goes on in smaller micro-batches. vLLM keeps to a share by
    itself (`vllm_arguments`).

    Args:
        config: of the engine.
        takes_turns: whether it has the GPU for itself when it is awake.
    """
    if not (is_vllm(config) or endpoint_of(config) is not None or config.model == SIMULATED):
        hold_process_to(share_of(config, takes_turns))


def hold_process_to(share: float) -> None:
    """Limit torch's memory on the GPU of this process to a share of it, in (0, 1]."""
    if share == 1.0:
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)
