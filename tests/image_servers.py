"""What vLLM-Omni and SGLang-diffusion answer at their image endpoints, as their sources say. The images are SIMULATED.

- vLLM-Omni, commit 005fd8e: vllm_omni/entrypoints/openai/api_server.py (`generate_images`, `edit_images`).
- SGLang, commit 0230ddc: python/sglang/multimodal_gen/runtime/entrypoints/openai/image_api.py (`generations`, `edits`).

Both read the fields that they know and leave out all others without a word, as FastAPI does.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from spti_ray.types import derive_seed

MODEL = "Tongyi-MAI/Z-Image-Turbo"


def vllm_omni(heeds_strength: bool = True) -> dict[str, Any]:
    """Routes of a server of MODEL. Of vLLM-Omni's pipelines Z-Image's heeds a strength, and others ignore it."""

    def generations(body: dict[str, Any], says: str) -> Any:
        if refused := _omni_refuses(body):
            return refused
        return _omni_answer(_drawn(body, None), body)

    def edits(form: dict[str, Any], says: str) -> Any:
        if refused := _omni_refuses(form):
            return refused
        image = form.get("image") or form.get("image[]")
        if not isinstance(image, bytes):
            return 422, {}, {"detail": "Field 'image' or 'url' is required"}
        return _omni_answer(_drawn(form, image, float(form["strength"]) if heeds_strength else 0.6), form)

    return {"/v1/images/generations": generations, "/v1/images/edits": edits}


def sglang() -> dict[str, Any]:
    """Routes of a server of SGLang; its form has no strength."""

    def generations(body: dict[str, Any], says: str) -> Any:
        if (body.get("response_format") or "url") == "url":
            return 400, {}, {"detail": "response_format='url' requires cloud storage to be configured."}
        return _sglang_answer(_drawn(body, None), body)

    def edits(form: dict[str, Any], says: str) -> Any:
        return _sglang_answer(_drawn(form, form["image"], 0.6), form)

    return {"/v1/images/generations": generations, "/v1/images/edits": edits}


def _omni_refuses(body: dict[str, Any]) -> Any:
    if body.get("model") not in (None, MODEL):
        said = f"Model mismatch: request specifies '{body['model']}' but server is running '{MODEL}'."
        return 400, {}, {"detail": said}
    if body.get("response_format", "b64_json") != "b64_json":
        return 400, {}, {"detail": "Only response_format 'b64_json' is supported now."}
    return None


def _omni_answer(png: str, body: dict[str, Any]) -> dict[str, Any]:
    data = [{"b64_json": png, "url": None, "revised_prompt": None}]
    return {"created": 0, "data": data, "output_format": "png", "size": body["size"]}


def _sglang_answer(png: str, body: dict[str, Any]) -> dict[str, Any]:
    data = [{"b64_json": png, "url": None, "revised_prompt": body["prompt"], "file_path": None}]
    return {"id": "7f", "created": 0, "data": data, "peak_memory_mb": 1.0, "inference_time_s": 0.1}


def _drawn(body: dict[str, Any], origin: bytes | None, strength: float = 1.0) -> str:
    """Noise of the prompt and the seed; with an origin mixed into that, the more the greater the strength."""
    width, height = (int(side) for side in body.get("size", "1024x1024").split("x"))
    rng = np.random.default_rng(derive_seed(int(body.get("seed", 1024)), body["prompt"], 0, "image"))
    pixels = rng.integers(0, 256, (height, width, 3)).astype(float)
    if origin is not None:
        with Image.open(io.BytesIO(origin)) as image:
            pixels = strength * pixels + (1 - strength) * np.asarray(image.convert("RGB"), float)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
