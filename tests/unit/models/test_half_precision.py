import pytest
import torch

from spti_ray.config import EngineConfig
from spti_ray.models import half_precision
from spti_ray.models.batching import dtype_of
from spti_ray.models.half_precision import computed_in

PLAIN = {"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}


def test_a_cpu_without_instructions_for_half_precision_computes_in_float32():
    assert computed_in("bfloat16", PLAIN) == computed_in("float16", PLAIN) == "float32"


@pytest.mark.parametrize("dtype, instruction", [("bfloat16", "amx_bf16"), ("float16", "avx512_fp16")])
def test_a_cpu_with_instructions_computes_as_it_was_told(dtype, instruction):
    assert computed_in(dtype, PLAIN | {instruction: True}) == dtype


def test_float32_and_cpus_whose_capabilities_are_not_known_are_left_alone():
    assert computed_in("float32", PLAIN) == "float32"
    assert computed_in("bfloat16", {"architecture": "aarch64"}) == "bfloat16"


def test_only_an_engine_on_the_cpu_is_computed_in_another_precision(monkeypatch):
    monkeypatch.setattr(half_precision, "_capabilities", lambda: PLAIN)
    half = EngineConfig(kind="diffusers", model="a/b", dtype="bfloat16")
    assert dtype_of(half, auto=torch.float32) == torch.float32
    assert dtype_of(half.model_copy(update={"num_gpus": 1}), auto=torch.float32) == torch.bfloat16
    assert dtype_of(half.model_copy(update={"dtype": "auto"}), auto=torch.bfloat16) == torch.float32


def test_torch_names_what_this_cpu_can_do_as_it_is_looked_for():
    known = torch.cpu.get_capabilities()
    assert "architecture" in known
    if known["architecture"] == "x86_64":
        assert {name for names in half_precision._INSTRUCTIONS.values() for name in names} <= set(known)
