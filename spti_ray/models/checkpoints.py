"""Checkpoints of transformers: whole ones only, with processors that need no torchvision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from transformers import AutoImageProcessor, AutoProcessor

from spti_ray.models.bundled import ModelMissing

T = TypeVar("T")

_LACKS_TORCHVISION = ("torchvision", "failed to be inspected")
"""In errors of transformers, and of vLLM, which says why in the log alone."""


def load_complete(model_class: Any, source: str, dtype: torch.dtype, revision: str | None = None) -> Any:
    """The model with all of its weights: transformers would make up what a file lacks, and only warn.

    Raises:
        ModelMissing: the files lack weights of that class.
    """
    model, loading = model_class.from_pretrained(source, dtype=dtype, revision=revision, output_loading_info=True)
    if missing := sorted(loading["missing_keys"]):
        raise ModelMissing(f"{source}: its files lack weights ({missing[0]}, ...); name another model")
    return model


def load_image_processor(source: str, revision: str | None = None) -> Any:
    """From PIL images to pixels. ModelMissing if only torchvision's kind of it exists, and torchvision does not."""
    return explain_missing_package(
        source, lambda: AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil")
    )


def load_processor(source: str, revision: str | None = None) -> Any:
    """From PIL images and texts to a model's inputs. ModelMissing as `load_image_processor`.

    Models that also see videos (Qwen-VL, SmolVLM2) have a part for these that needs torchvision. Where that is, it also
    resizes: `backend="pil"` would be asked of the part for videos, too, which has no such.
    """
    return explain_missing_package(source, lambda: AutoProcessor.from_pretrained(source, revision=revision))


def to_device(inputs: Mapping[str, torch.Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """A model's inputs where it is; those that are no whole numbers also in its precision."""
    return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in inputs.items()}


def explain_missing_package(source: str, load: Callable[[], T]) -> T:
    """What `load` makes of the checkpoint; ModelMissing, in one line with what to do, if that takes another package."""
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
