"""vLLM's arguments and the quick nucleus, without starting an engine."""

import pytest
import torch

from spti_ray.config import EngineConfig
from spti_ray.models import half_precision
from spti_ray.models.nucleus import keep_nucleus
from spti_ray.models.vllm_arguments import captioner_arguments, writer_arguments


def sorted_nucleus(logits, top_p):
    """Top-p as vLLM has it: sort everything, drop the tail whose probability is at most 1 - p."""
    ordered, index = logits.sort(dim=-1)
    drop = ordered.softmax(-1).cumsum(-1) <= 1 - top_p[:, None]
    drop[:, -1] = False
    return logits.clone().scatter_(1, index, ordered.masked_fill(drop, -torch.inf))


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("num_likely", [2, 16, 5000])
def test_quick_nucleus_is_the_sorted_one(scale, num_likely):
    logits = torch.randn(6, 3000, generator=torch.Generator().manual_seed(1)) * scale
    logits += torch.arange(3000) * 1e-5  # no ties
    top_p = torch.tensor([0.05, 0.5, 0.9, 0.95, 0.99, 0.999])
    ours, theirs = keep_nucleus(logits, top_p, num_likely), sorted_nucleus(logits, top_p)
    # Cumulative sums in two orders may put the one token at the border on either side.
    assert int((ours.isinf() != theirs.isinf()).sum(dim=1).max()) <= 4
    assert torch.equal(ours.argmax(-1), logits.argmax(-1))


def test_quick_nucleus_keeps_at_least_one_token():
    kept = keep_nucleus(torch.tensor([[0.0, 5.0, 1.0]]), torch.tensor([1e-9]))
    assert kept.tolist() == [[float("-inf"), 5.0, float("-inf")]]


def test_prompts_are_never_split_on_cpu():
    config = EngineConfig(kind="vllm", model="a/b", options={"max_model_len": 4096})
    arguments = writer_arguments(config, on_cpu=True)
    assert arguments["enable_chunked_prefill"] is False
    assert arguments["max_num_batched_tokens"] >= 4096
    assert arguments["enforce_eager"] is True


@pytest.mark.parametrize("asked", ["auto", "bfloat16"])
def test_a_cpu_that_would_emulate_bfloat16_computes_in_float32_and_a_gpu_as_asked(monkeypatch, asked):
    config = EngineConfig(kind="vllm", model="a/b", dtype=asked)
    monkeypatch.setattr(half_precision, "_capabilities", lambda: {"architecture": "x86_64"})
    assert writer_arguments(config, on_cpu=True)["dtype"] == "float32"
    assert writer_arguments(config, on_cpu=False)["dtype"] == asked
    monkeypatch.setattr(half_precision, "_capabilities", lambda: {"architecture": "x86_64", "avx512_bf16": True})
    assert writer_arguments(config, on_cpu=True)["dtype"] == asked


def test_gpu_arguments_are_vllms_own_where_nothing_is_set():
    config = EngineConfig(kind="vllm", model="a/b", num_gpus=2, options={"tensor_parallel_size": 2})
    arguments = writer_arguments(config, on_cpu=False)
    assert "block_size" not in arguments
    assert "enable_chunked_prefill" not in arguments
    assert arguments["distributed_executor_backend"] == "mp", "in a placement group vLLM would take Ray's"
    assert arguments["enforce_eager"] is False


def test_extra_arguments_win():
    config = EngineConfig(kind="vllm", model="a/b", options={"extra": {"max_num_seqs": 7, "swap": 1}})
    arguments = writer_arguments(config, on_cpu=True)
    assert arguments["max_num_seqs"] == 7
    assert arguments["swap"] == 1


def test_a_captioner_keeps_no_private_image_whatever_is_asked_for():
    extra = {"enable_prefix_caching": True, "mm_processor_cache_gb": 4, "seed": 3}
    config = EngineConfig(kind="vllm-vision", model="a/b", num_gpus=1, options={"extra": extra})
    arguments = captioner_arguments(config, on_cpu=False)
    assert arguments["enable_prefix_caching"] is False and arguments["mm_processor_cache_gb"] == 0
    assert arguments["seed"] == 3 and arguments["limit_mm_per_prompt"]["image"] == 1
    assert arguments["distributed_executor_backend"] == "uni", "a process of its own would not be silenced"
    assert "logits_processors" not in arguments
