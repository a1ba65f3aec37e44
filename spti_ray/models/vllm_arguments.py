"""The arguments of vLLM's engines. Does not import vLLM."""

from __future__ import annotations

from typing import Any

from spti_ray.config import EngineConfig
from spti_ray.models import half_precision
from spti_ray.models.bundled import resolve_model
from spti_ray.models.gpu_share import ROOM, share_of
from spti_ray.models.options import VllmOptions, VllmVisionOptions
from spti_ray.models.vllm_extra import num_workers

BLOCK_TOKENS = 32
"""Tokens of a block of the prefix cache on CPU; a multiple of the 16 tokens on GPUs."""

TOP_P_PROCESSOR = "spti_ray.models.vllm_top_p:QuickTopP"
TOP_P_ARGUMENT = "spti_top_p"
"""Key of `SamplingParams.extra_args`; the request's own `top_p` stays 1, so that vLLM does not sort."""


def writer_arguments(config: EngineConfig, on_cpu: bool) -> dict[str, Any]:
    """Arguments of `AsyncEngineArgs` for the writer of `config`."""
    options = VllmOptions.model_validate(config.options)
    arguments = _common(config, options, on_cpu)
    arguments["enable_prefix_caching"] = True
    arguments["enable_log_requests"] = False
    arguments["tensor_parallel_size"] = options.tensor_parallel_size
    # Never "ray", which would look for further GPUs on any node. "mp" starts (in Ray: spawns) a process for each GPU of
    # CUDA_VISIBLE_DEVICES, which Ray sets to the actor's GPUs.
    arguments["distributed_executor_backend"] = "uni" if num_workers("", config.options) == 1 else "mp"
    if not on_cpu:
        # On CPU vLLM refuses it, since nothing would be freed.
        arguments["enable_sleep_mode"] = options.sleep_mode
    arguments |= options.extra
    if on_cpu:  # The writer's top_p needs it.
        arguments["logits_processors"] = [TOP_P_PROCESSOR, *options.extra.get("logits_processors", ())]
    return arguments


def captioner_arguments(config: EngineConfig, on_cpu: bool) -> dict[str, Any]:
    """Arguments of `LLM` for the captioner of `config`. It sees private images, so it has no caches."""
    options = VllmVisionOptions.model_validate(config.options)
    arguments = _common(config, options, on_cpu)
    # Only in this process, whose output is suppressed while it sees private images.
    arguments["distributed_executor_backend"] = "uni"
    arguments["limit_mm_per_prompt"] = {"image": 1, "video": 0, "audio": 0}
    arguments |= options.extra
    return arguments | {"enable_prefix_caching": False, "mm_processor_cache_gb": 0}


def _common(config: EngineConfig, options: VllmOptions | VllmVisionOptions, on_cpu: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": resolve_model(config.model),
        "revision": config.revision,
        "dtype": config.dtype,
        "max_model_len": options.max_model_len,
        "max_num_seqs": options.max_num_seqs,
        "enforce_eager": options.enforce_eager if options.enforce_eager is not None else on_cpu,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if on_cpu:
        # By itself vLLM takes the checkpoint's, which mostly is bfloat16.
        if half_precision.on_cpu("bfloat16" if config.dtype == "auto" else config.dtype) == "float32":
            arguments["dtype"] = "float32"
        # vLLM splits prompts that exceed the step's token budget, and its CPU worker then dies with "CPU Generator
        # does not use offset" when the split request has a seed, as all of ours have. So no prompt is ever split.
        arguments["enable_chunked_prefill"] = False
        arguments["max_num_batched_tokens"] = max(2048, options.max_model_len or 0)
        # Only whole blocks of a prefix are reused. vLLM's CPU default of 128 tokens leaves up to 127 tokens of the
        # few-shot block to every request; 32 is the least that the CPU attention kernel takes.
        arguments["block_size"] = BLOCK_TOKENS
    else:
        # vLLM's is a share of the whole GPU, whoever else is on it. Who takes turns has it alone while awake.
        takes_turns = isinstance(options, VllmOptions) and options.sleep_mode
        arguments["gpu_memory_utilization"] = options.gpu_memory_utilization or ROOM * share_of(config, takes_turns)
    return arguments
