"""Nucleus sampling (top-p) that is quick on CPU, as a vLLM logits processor.

Loaded by name (`vllm_arguments.TOP_P_PROCESSOR`), where vLLM's core is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from spti_ray.models.nucleus import keep_nucleus
from spti_ray.models.vllm_arguments import TOP_P_ARGUMENT

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class QuickTopP(LogitsProcessor):
    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._top_p_of: dict[int, float] = {}

    def is_argmax_invariant(self) -> bool:
        """The likeliest token always stays. Processors that say so run after the temperature, as top-p must."""
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._top_p_of, batch_update, lambda params, *_: _top_p(params))

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if self._top_p_of:
            rows = torch.tensor(list(self._top_p_of), device=logits.device)
            top_p = torch.tensor(list(self._top_p_of.values()), device=logits.device)
            logits[rows] = keep_nucleus(logits[rows], top_p)
        return logits


def _top_p(params: SamplingParams) -> float | None:
    return (params.extra_args or {}).get(TOP_P_ARGUMENT)
