"""Pipelines whose weights are one file: a whole checkpoint of the Stable Diffusion kind, or a denoiser alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.quantizers.quantization_config import GGUFQuantizationConfig
from safetensors import safe_open

from spti_ray.models.bundled import ModelMissing, ModelNotFound, is_local, resolve_model

DENOISERS = ("transformer", "unet")

_OF_OTHER_PARTS = ("first_stage_model.", "vae.", "cond_stage_model.", "conditioner.", "text_encoders.", "text_encoder")
"""How the names of weights begin that are no denoiser's; a file without such holds a denoiser alone."""


def file_of(model: str, revision: str | None) -> str:
    """The path of a single file: a local one, or one of a repository (`owner/name/FILE`), which is downloaded.

    Raises:
        ModelNotFound: there is no such file.
    """
    if is_local(model):
        return resolve_model(model)
    owner, name, *rest = model.split("/")
    if not rest:
        raise ModelNotFound(
            f"there is no file {model!r}: correct the path, or write owner/name/FILE for one on the Hub"
        )
    from huggingface_hub import hf_hub_download

    return hf_hub_download(f"{owner}/{name}", "/".join(rest), revision=revision)


def holds_whole_pipeline(file: str) -> bool:
    """Whether the file has weights of a text encoder or an autoencoder beside those of the denoiser."""
    if file.endswith(".gguf"):
        return False
    with safe_open(file, framework="pt") as weights:
        return any(name.startswith(_OF_OTHER_PARTS) for name in weights.keys())  # noqa: SIM118 no mapping


def load_whole_pipeline(file: str, base: str, pipeline_class: str, dtype: torch.dtype) -> Any:
    """A pipeline of the class that `base` names, with its weights from the file and all else from `base`."""
    return getattr(diffusers, pipeline_class).from_single_file(file, config=base, dtype=dtype)


def load_denoiser(file: str, base: str, dtype: torch.dtype) -> dict[str, Any]:
    """The denoiser by its name in the pipeline of `base`, whose configuration it has.

    Weights of a `.gguf` stay in their few bits, and are brought to `dtype` where they are used.

    Raises:
        ModelMissing: the pipeline has no denoiser that diffusers loads from a file, or `gguf` is not installed.
    """
    index: Any = DiffusionPipeline.load_config(base)
    name = next((name for name in DENOISERS if index.get(name)), None)
    denoiser: Any = getattr(diffusers, index[name][1], None) if name else None
    if name is None or not hasattr(denoiser, "from_single_file"):
        raise ModelMissing(f"{base}: diffusers loads no denoiser of a {index.get('_class_name')} from a single file")
    given: dict[str, Any] = {"config": base, "subfolder": name, "dtype": dtype}
    if file.endswith(".gguf"):
        given["quantization_config"] = GGUFQuantizationConfig(compute_dtype=dtype)
    try:
        return {name: denoiser.from_single_file(file, **given)}
    except ImportError as error:
        raise ModelMissing(f"{Path(file).name}: {' '.join(str(error).split())[:200]}") from None
