"""Engines that give their GPU to one another, on a real one; a renderer also on a CPU, to try the test."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from tests.gpu.engines import built  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.models]

WRITER = """
import asyncio, json, torch

from spti_ray.models.factory import EMBEDDED, build_engine, public_engine_config
from spti_ray.types import WriteRequest


def free():
    return torch.cuda.mem_get_info()[0] / 2**30


async def main():
    settings = EMBEDDED.writer.model_copy(update={"num_gpus": 0.5, "options": {"gpu_memory_utilization": 0.5}})
    config = public_engine_config(settings, takes_turns=True, reports_stats=False)
    writer = build_engine("writer", config, takes_turns=True)
    requests = [WriteRequest("A red ball.\\nA blue", 2, 7, 8)]
    before = await writer.write(requests)
    held = free()
    await writer.sleep()
    asleep = free()
    await writer.wake()
    after = await writer.write(requests)
    writer.close()
    print(json.dumps({"freed": asleep - held, "before": before[0].texts, "after": after[0].texts}))


if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_writer_that_sleeps_frees_the_gpu_and_writes_the_same_when_it_is_awake_again(tmp_path, cuda):
    if find_spec("vllm") is None:
        pytest.skip("needs vLLM's build for GPUs")
    from spti_ray.models.engine_process import engine_environment
    from spti_ray.models.factory import EMBEDDED

    program = tmp_path / "write.py"
    program.write_text(WRITER)
    settings = EMBEDDED.writer.model_copy(update={"num_gpus": 0.5})
    environment = os.environ | engine_environment("writer", settings) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    total = torch.cuda.get_device_properties(0).total_memory / 2**30
    assert said["freed"] > 0.3 * total, "the KV cache alone is most of half the GPU"
    assert said["after"] == said["before"]


def test_a_renderer_that_sleeps_frees_the_gpu_and_draws_the_same_when_it_is_awake_again(device, text_encoder):
    renderer = built("renderer", device, text_encoder, takes_turns=True, batch_size=2)
    before = renderer.render(["a red apple"], [3])[0]
    held = torch.cuda.memory_reserved() if device == "cuda" else None
    renderer.sleep()
    assert held is None or torch.cuda.memory_reserved() < held / 4
    renderer.wake()
    assert (renderer.render(["a red apple"], [3])[0] == before).all()
