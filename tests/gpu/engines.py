"""The bundled engines on a device, and how many items a second they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spti_ray.config import EngineConfig, Role
from spti_ray.models.bundled import ModelMissing, resolve_model
from spti_ray.models.factory import EMBEDDED, build_engine

TEXTS, SEEDS = ["a red apple", "a blue car", "a yellow star"], [1, 2, 3]


def settings(role: Role, device: str, **changes: Any) -> EngineConfig:
    """The bundled engine of a role, on a device; skips the test where its model is not there.

    Raises:
        pytest.skip.Exception: with the reason.
    """
    found = EMBEDDED.of(role).model_copy(update={"num_gpus": 1.0 if device == "cuda" else 0.0} | changes)
    for model in (found.model, *((found.options["text_encoder"],) if "text_encoder" in found.options else ())):
        try:
            resolve_model(str(model))
        except (ModelMissing, ImportError) as error:
            pytest.skip(f"needs {model}, which is not here ({type(error).__name__})")
    return found


def built(role: Role, device: str, text_encoder: str = "", takes_turns: bool = False, **changes: Any) -> Any:
    """The bundled engine of a role; `text_encoder`: of the renderer; `changes`: of its settings, and of its options."""
    if role == "renderer":
        if find_spec("diffusers") is None:
            pytest.skip("needs diffusers")
        changes["options"] = (
            EMBEDDED.renderer.options | {"text_encoder": text_encoder, "steps": 4} | changes.get("options", {})
        )
    return build_engine(role, settings(role, device, **changes), takes_turns=takes_turns)


def save_text_encoder(folder: Path) -> None:
    """One of MiniLM's shape with random weights: what it makes the renderer draw is nothing, and as much work."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    BertModel(BertConfig(**shape)).save_pretrained(folder)


def some_images(count: int) -> list[np.ndarray]:
    """Public images: areas of one colour each, uint8 [64, 64, 3]."""
    draw = np.random.default_rng(0)
    colours = draw.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [np.kron(image, np.ones((16, 16, 1), np.uint8)) for image in colours]


def near(images: Sequence[np.ndarray], others: Sequence[np.ndarray], most: float = 6.0) -> bool:
    """Whether images are the same but for how a device rounds: the mean difference of their values, of 255."""
    return bool(np.abs(np.stack(images).astype(int) - np.stack(others)).mean() < most)


def per_second(call: Callable[[], object], items: int, at_least_s: float) -> float:
    """Items a second of repeated calls of so many items, for so long at least, after one to warm up."""
    call()
    began, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - began < at_least_s:
        call()
        calls += 1
    return round(calls * items / (time.perf_counter() - began), 1)
