"""The environment and the threads of an engine's process."""

import os

import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.engine_process import engine_environment, threads_of
from spti_ray.models.factory import EMBEDDED, KINDS


def test_environment_of_vllm_on_cpu_and_on_a_gpu():
    on_cpu = engine_environment("writer", EMBEDDED.writer.model_copy(update={"threads": 3}))
    assert on_cpu["OMP_NUM_THREADS"] == "3"
    assert on_cpu["OMP_WAIT_POLICY"] == "passive"
    assert on_cpu["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert on_cpu["HF_HUB_OFFLINE"] == "1"
    on_gpu = engine_environment("writer", EngineConfig(kind="vllm", model="Qwen/Qwen3-8B", num_gpus=1))
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in on_gpu
    assert "HF_HUB_OFFLINE" not in on_gpu


def test_threads_of_an_engine_elsewhere_are_for_its_node_to_say(monkeypatch):
    writer = EMBEDDED.writer
    assert int(engine_environment("writer", writer)["OMP_NUM_THREADS"]) >= 1
    assert "OMP_NUM_THREADS" not in engine_environment("writer", writer, elsewhere=True)
    set_to_three = writer.model_copy(update={"threads": 3})
    assert engine_environment("writer", set_to_three, elsewhere=True)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (threads_of(writer), threads_of(set_to_three)) == (2, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads_of(writer) == os.cpu_count()


def test_a_bundled_renderer_with_a_remote_text_encoder_is_not_offline():
    options = EMBEDDED.renderer.options | {"text_encoder": "sentence-transformers/all-MiniLM-L6-v2"}
    assert "HF_HUB_OFFLINE" not in engine_environment(
        "renderer", EMBEDDED.renderer.model_copy(update={"options": options})
    )


@pytest.mark.parametrize("kind", ["vllm-vision", KINDS["vllm-vision"]])
def test_a_captioner_of_vllm_stays_in_the_process_that_is_silenced(kind):
    on_gpu = engine_environment("captioner", EngineConfig(kind=kind, model="Qwen/Qwen3-VL-8B", num_gpus=1))
    assert on_gpu["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
