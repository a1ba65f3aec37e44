"""Which method of a renderer makes a batch of images."""

from __future__ import annotations

from typing import Any

from spti_ray.models.factory import ENGINE_METHODS, VARY
from spti_ray.models.pixels import from_png
from spti_ray.types import RenderBatch


def render_call(batch: RenderBatch) -> tuple[str, tuple[Any, ...]]:
    """What to call for a batch, in the engine's own process: PNG images are decoded here.

    Returns:
        The method's name and its arguments: `render` with texts and seeds; for variations `vary` with HWC uint8 RGB
        images, texts, seeds and strength.
    """
    texts, seeds = list(batch.texts), list(batch.seeds)
    if not batch.images:
        return ENGINE_METHODS["renderer"], (texts, seeds)
    return VARY, ([from_png(png) for png in batch.images], texts, seeds, batch.strength)
