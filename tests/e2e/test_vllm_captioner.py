"""A captioner in vLLM, in a process of its own, on SmolVLM's architecture with random weights."""

import json
import os
import subprocess
import sys

import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.engine_process import engine_environment
from tests.tiny_models import save_idefics3

pytestmark = pytest.mark.slow  # a minute of a model that is loaded; no rule of privacy hangs on it

PROGRAM = """
import json, sys

import numpy as np

from spti_ray.config import EngineConfig
from spti_ray.models.factory import build_engine

config = EngineConfig.model_validate_json(sys.argv[1])
rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(20, 30), (64, 64), (40, 100), (90, 36)]]
captioner = build_engine("captioner", config)
said = {"captions": captioner.caption(images), "again": captioner.caption(images[::-1]), "none": captioner.caption([])}
if config.kind == "vllm-vision":
    # Five tiles are too many tokens now, and three are not.
    captioner._engine.model_config.max_model_len = 40
    try:
        captioner.caption(images)
    except RuntimeError as error:
        said["refusal"] = f"{type(error).__name__}: {error}"
    said["after"] = captioner.caption(images[2:3])
    said["identity"] = captioner.identity()
print(json.dumps(said))
"""


def captions(folder, kind, program):
    config = EngineConfig(
        kind=kind,
        model=str(folder),
        dtype="float32",
        batch_size=4,
        options={"prompt": "Describe this image.", "max_tokens": 6}
        | ({"max_model_len": 256} if "vllm" in kind else {}),
    )
    environment = os.environ | engine_environment("captioner", config) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, program, config.model_dump_json()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=290, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.timeout(600)
def test_vllm_says_of_each_image_what_transformers_says(tmp_path):
    pytest.importorskip("vllm", reason="needs the cpu or gpu extra")
    save_idefics3(tmp_path)
    program = tmp_path / "caption.py"
    program.write_text(PROGRAM)
    by_vllm, by_transformers = (captions(tmp_path, kind, program) for kind in ("vllm-vision", "chat-vision"))
    assert len(set(by_transformers["captions"])) > 2, "else nothing is tested"
    assert by_vllm["captions"] == by_transformers["captions"]
    assert by_vllm["again"] == by_vllm["captions"][::-1] and by_vllm["none"] == []
    assert by_vllm["refusal"] == "RuntimeError: vLLM refused an image (VLLMValidationError)"
    assert by_vllm["after"] == by_vllm["captions"][2:3], "nothing of the others is left"
    assert by_vllm["identity"]["kind"] == "vllm-vision" and len(by_vllm["identity"]["revision"]) == 12
