"""Loads checkpoints of transformers: complete ones, also of a variant alone, and processors without torchvision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from transformers import AutoImageProcessor, AutoProcessor

from spti_ray.models.bundled import ModelMissing
from spti_ray.models.tabled_processor import tabled
from spti_ray.models.weight_files import file_names, variant_of_model

T = TypeVar("T")

VARIANT_OF = {torch.float16: "fp16", torch.bfloat16: "bf16"}
"""Which of several variants is loaded, where there are no plain weights."""

_LACKS_TORCHVISION = ("torchvision", "failed to be inspected")
"""Words in errors about a missing torchvision: of transformers, and of vLLM, which tells the reason only in its log."""


def load_complete(
    model_class: Any, source: str, dtype: torch.dtype, revision: str | None = None, config: Any = None
) -> Any:
    """Load a model with all of its weights: transformers would initialise missing ones at random, and only warn.

    Args:
        model_class: transformers' class.
        source: The checkpoint.
        dtype: Of the weights.
        revision: Of the checkpoint.
        config: The model's configuration, if not that of the checkpoint.

    Raises:
        ModelMissing: the files lack weights of that class.
    """
    given: dict[str, Any] = {} if config is None else {"config": config}
    model, loading = from_any_weights(model_class, source, dtype, revision, output_loading_info=True, **given)
    if missing := sorted(loading["missing_keys"]):
        raise ModelMissing(f"{source}: its files lack weights ({missing[0]}, ...); name another model")
    return model


def from_any_weights(model_class: Any, source: str, dtype: torch.dtype, revision: str | None = None, **how: Any) -> Any:
    """What `from_pretrained` makes of a checkpoint, also where its weights are stored in one variant alone, as fp16.

    Args:
        model_class: transformers' class.
        source: The checkpoint.
        dtype: Of the weights, once they are loaded.
        revision: Of the checkpoint.
        how: Other arguments of `from_pretrained`.

    Raises:
        OSError: transformers' own, where there are no weights at all.
    """
    try:
        return model_class.from_pretrained(source, dtype=dtype, revision=revision, **how)
    except OSError:
        variant = variant_of_model(file_names(source, revision), VARIANT_OF.get(dtype))
        if variant is None:
            raise
    return model_class.from_pretrained(source, dtype=dtype, revision=revision, variant=variant, **how)


def load_image_processor(source: str, revision: str | None = None) -> Any:
    """Load the image processor, which turns PIL images into a model's inputs.

    Raises:
        ModelMissing: it exists only for torchvision, which is not installed.
    """
    return tabled(
        explain_missing_package(
            source, lambda: AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil")
        )
    )


def load_processor(source: str, revision: str | None = None) -> Any:
    """Load the processor, which turns PIL images and texts into a model's inputs.

    The processors of models that also see videos (Qwen-VL, SmolVLM2) have a part that needs torchvision. So
    `backend="pil"` is not given here: the part for videos has no such backend, and torchvision resizes images too.

    Raises:
        ModelMissing: as `load_image_processor`.
    """
    return explain_missing_package(source, lambda: AutoProcessor.from_pretrained(source, revision=revision))


def to_device(inputs: Mapping[str, torch.Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Move a model's inputs to its device, and those in floating point to its dtype."""
    return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in inputs.items()}


def explain_missing_package(source: str, load: Callable[[], T]) -> T:
    """Call `load`, and explain in one line what to install if a package is missing.

    Args:
        source: The checkpoint's name, for the message.
        load: Loads it.

    Raises:
        ModelMissing: a package is missing.
    """
    try:
        return load()
    except (ImportError, ValueError) as error:
        said = str(error)
        if find_spec("torchvision") is None and any(sign in said.lower() for sign in _LACKS_TORCHVISION):
            release = torch.__version__.partition("+")[0]
            raise ModelMissing(
                f"{source}: its processor needs torchvision, and the one that is made for torch {release}: pip install "
                f"torch=={release} torchvision; or name a model that sees no videos"
            ) from None
        if isinstance(error, ImportError):
            line = " ".join(said.split())[:200]
            raise ModelMissing(f"{source}: its processor needs a package that is not installed: {line}") from None
        raise
