"""Finished models on disk: the standard layouts, in half precision, moved into place when complete."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from transformers import AutoTokenizer, BlipImageProcessor, CLIPImageProcessor

from jobs.embedded.augment import SIZE
from spti_ray.models.bundled import resolve_model


def finished(folder: Path) -> bool:
    """Whether `save` has been here."""
    return folder.exists()


def save(folder: Path, write: Callable[[Path], None]) -> None:
    """Call `write(folder)` so that `folder` appears at once and whole."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    partial.rename(folder)


def image_processor(
    kind: type[CLIPImageProcessor] | type[BlipImageProcessor],
) -> CLIPImageProcessor | BlipImageProcessor:
    """To SIZE pixels in [-1, 1]."""
    return kind(
        do_resize=True,
        size={"height": SIZE, "width": SIZE},
        do_center_crop=False,
        do_normalize=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        do_convert_rgb=True,
    )


def minilm_tokenizer(max_tokens: int) -> AutoTokenizer:
    """MiniLM's WordPiece tokenizer, cutting at `max_tokens`."""
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("bundled:minilm"))
    tokenizer.model_max_length = max_tokens
    return tokenizer
