"""The device of these tests, and where their figures go: `make test-gpu`, or `make test-gpu DEVICE=cpu`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from spti_ray import __version__

MEASURED_S = 5.0
"""How long a figure is measured on a GPU."""


@pytest.fixture(scope="session")
def device() -> str:
    """torch's name of the device: "cuda" or, where SPTI_TEST_DEVICE says so, "cpu"."""
    asked = os.environ.get("SPTI_TEST_DEVICE") or "cuda"
    torch = pytest.importorskip("torch", reason="needs torch")
    if asked == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU that torch sees; make test-gpu DEVICE=cpu tries it on the CPU")
    return asked


@pytest.fixture(scope="session")
def cuda(device: str) -> str:
    """For what no CPU has: memory of its own."""
    if device != "cuda":
        pytest.skip("needs a GPU: there is no memory of its own on a CPU")
    return device


@pytest.fixture(scope="session")
def measured_s(device: str) -> float:
    return MEASURED_S if device == "cuda" else 0.0


@pytest.fixture(scope="session")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The renderer's: MiniLM or, where it is not installed, one of its shape with random weights."""
    from spti_ray.models.bundled import resolve_model
    from tests.gpu.engines import save_text_encoder

    try:
        resolve_model("bundled:minilm")
    except (RuntimeError, ImportError):
        folder = tmp_path_factory.mktemp("text-encoder")
        save_text_encoder(folder)
        return str(folder)
    return "bundled:minilm"


@pytest.fixture(scope="session")
def figures(device: str) -> Iterator[dict[str, float]]:
    """Figures by name. Those of a GPU go into the file that SPTI_GPU_FIGURES names; those of a CPU go nowhere."""
    found: dict[str, float] = {}
    yield found
    path = os.environ.get("SPTI_GPU_FIGURES")
    if device != "cuda" or not path or not found:
        return
    import torch

    properties = torch.cuda.get_device_properties(0)
    document = {
        "spti_ray": __version__,
        "device": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "libraries": {
            name: there for name in ("torch", "transformers", "diffusers", "vllm") if (there := _version(name))
        },
        "figures": found,
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
