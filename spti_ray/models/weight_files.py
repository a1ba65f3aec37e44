"""Whether a model is one file, and which variant of weights a repository has. Imports no heavy library."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from spti_ray.models.bundled import is_local

SINGLE_FILES = (".safetensors", ".gguf")
"""Endings of models that are one file. A `.ckpt` is a pickle, which would run what is in it."""

_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)"
    r"(?:\.(?P<variant>[a-z]\w*))?(?:-\d{5}-of-\d{5})?(?:\.(?P<older>[a-z]\w*))?\.(?:safetensors|bin)"
)
"""Names of weights: plain, of a variant, or of one in the older way (`model-00001-of-00002.fp16.safetensors`)."""


def is_single_file(model: str) -> bool:
    """Whether a renderer's model is one file of weights: on this machine, or in a repository (`owner/name/FILE`)."""
    return model.endswith(SINGLE_FILES) and not Path(model).is_dir()


def variant_of(names: Iterable[str], preferred: str | None = None) -> str | None:
    """The variant in which a repository stores weights that it does not store plainly, such as `fp16`.

    Args:
        names: Paths of its files, relative to it, such as `unet/diffusion_pytorch_model.fp16.safetensors`.
        preferred: Of several such variants this one.

    Returns:
        None where each component has plain weights, or where no one variant has all that is missing.
    """
    stored: dict[str, set[str | None]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder and "/" not in folder and (weights := _WEIGHTS.fullmatch(file)):
            stored.setdefault(folder, set()).add(weights["variant"] or weights["older"])
    lacking = [variants for variants in stored.values() if None not in variants]
    if not lacking:
        return None
    shared = sorted({variant for variant in set.intersection(*lacking) if variant})
    return preferred if preferred in shared else next(iter(shared), None)


def variant_of_model(names: Iterable[str], preferred: str | None = None) -> str | None:
    """The same of a repository that is one model of transformers, with its weights beside its `config.json`."""
    return variant_of((f"model/{name}" for name in names if "/" not in name), preferred)


def file_names(source: str, revision: str | None) -> list[str]:
    """Relative paths of the files of a model's folder or repository; without a network, of those in the cache."""
    if not is_local(source):
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return HfApi().list_repo_files(source, revision=revision)
        except Exception:  # noqa: BLE001 no network, no access, no such model: whoever loads it says so
            try:
                source = snapshot_download(source, revision=revision, local_files_only=True)
            except LocalEntryNotFoundError:
                return []
    folder = Path(source)
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
