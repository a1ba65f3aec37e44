"""vLLM's arguments and the quick nucleus, without starting an engine."""

from importlib.metadata import PackageNotFoundError

import pytest
import torch
from rich.console import Console

from spti_ray.config import EngineConfig
from spti_ray.config.loading import ConfigError
from spti_ray.driver.driver import run_config
from spti_ray.models import half_precision, vllm_build
from spti_ray.models.factory import build_engine, public_engine_config
from spti_ray.models.nucleus import keep_nucleus
from spti_ray.models.vllm_arguments import captioner_arguments, writer_arguments
from spti_ray.planning.checks import check_build
from tests.unit.conftest import config_with


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


@pytest.mark.parametrize(("arguments", "kind"), [(writer_arguments, "vllm"), (captioner_arguments, "vllm-vision")])
def test_vllms_memory_follows_the_engines_share_of_a_gpu_unless_it_is_set(arguments, kind):
    def utilisation(num_gpus, **options):
        config = EngineConfig(kind=kind, model="a/b", num_gpus=num_gpus, options=options)
        return arguments(config, on_cpu=False)["gpu_memory_utilization"]

    assert utilisation(0.5) == pytest.approx(0.45)
    assert utilisation(0.25) == pytest.approx(0.225)
    assert utilisation(1) == utilisation(2) == pytest.approx(0.9)
    assert utilisation(0.5, gpu_memory_utilization=0.3) == 0.3
    assert utilisation(0.5, extra={"gpu_memory_utilization": 0.2}) == 0.2
    assert "gpu_memory_utilization" not in arguments(EngineConfig(kind=kind, model="a/b"), on_cpu=True)


def test_a_writer_that_takes_turns_has_the_gpu_for_itself_in_its_turn():
    config = EngineConfig(kind="vllm", model="a/b", num_gpus=0.5)
    shared = public_engine_config(config, takes_turns=True, reports_stats=False)
    assert writer_arguments(shared, on_cpu=False)["gpu_memory_utilization"] == pytest.approx(0.9)


@pytest.fixture
def gpu_build(monkeypatch):
    """vLLM's distribution for GPUs, in name."""

    def version(name):
        if name == "vllm":
            return "0.33.0"
        raise PackageNotFoundError(name)

    monkeypatch.delenv("VLLM_TARGET_DEVICE", raising=False)
    monkeypatch.setattr(vllm_build, "version", version)


@pytest.mark.parametrize("kind", ["vllm", "vllm-vision", "spti_ray.models.vllm_captioner:VllmCaptioner"])
def test_vllm_built_for_gpus_takes_none_that_it_was_not_given(kind, gpu_build):
    role = "writer" if kind == "vllm" else "captioner"
    config = EngineConfig(kind=kind, model="no/such-model")
    with pytest.raises(ValueError, match=rf"^runtime\.engines\.{role}\.num_gpus: is 0, but the vLLM") as caught:
        build_engine(role, config)
    assert "\n" not in str(caught.value)


def test_a_run_on_this_machine_is_refused_for_it_before_anything_is_placed(gpu_build):
    with pytest.raises(ConfigError, match=r"^runtime\.engines\.writer\.num_gpus: is 0"):
        check_build(config_with(runtime__engines="embedded"))
    check_build(config_with(runtime__engines={"writer": {"num_gpus": 0.5}}))
    check_build(config_with(runtime__engines="fake"))


def test_a_run_that_would_start_its_own_engines_is_refused_and_leaves_nothing(gpu_build, tmp_path):
    config = config_with(runtime__engines="embedded", runtime__executor="local")
    with pytest.raises(ConfigError, match=r"^runtime\.engines\.writer\.num_gpus: is 0"):
        run_config(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_the_build_for_cpus_needs_none():
    check_build(config_with(runtime__engines="embedded"))


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
