"""Which precision an engine on this machine's CPU computes in, where half precision was asked for.

Without instructions for it a CPU emulates half precision, and is many times slower than in float32, which holds the
same weights exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch

_INSTRUCTIONS = {"bfloat16": ("avx512_bf16", "amx_bf16"), "float16": ("avx512_fp16", "amx_fp16")}


def on_cpu(dtype: str) -> str:
    """`dtype`, or float32 where it is one of half precision that this CPU has no instructions for.

    Args:
        dtype: float32, bfloat16 or float16.
    """
    return computed_in(dtype, _capabilities())


def computed_in(dtype: str, capabilities: Mapping[str, object]) -> str:
    """The same for a CPU of these `capabilities`, as torch names them. Other architectures than x86 are left alone."""
    instructions = _INSTRUCTIONS.get(dtype, ())
    if capabilities.get("architecture") != "x86_64" or not instructions:
        return dtype
    return dtype if any(capabilities.get(name) for name in instructions) else "float32"


@cache
def _capabilities() -> Mapping[str, object]:
    return torch.cpu.get_capabilities()
