"""Images that a pipeline's safety checker flags: it paints them black, and a black square is no image of a text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from spti_ray.types import ImageArray, derive_seed

log = logging.getLogger(__name__)

MOST_SEEDS = 3
"""From so many seeds an image is tried, the first of them its own."""

Input = TypeVar("Input")


def unflagged(
    render: Callable[[Sequence[tuple[Input, int]]], list[ImageArray | None]],
    inputs: Sequence[Input],
    seeds: Sequence[int],
) -> list[ImageArray | None]:
    """Render, and render again from other seeds what is flagged.

    The further seeds are made of an image's own, so that an image is always the same function of its text and seed.

    Args:
        render: An image for each pair of an input and a seed; None for one that was flagged.
        inputs: What is rendered.
        seeds: One seed for each input.

    Returns:
        One image for each input; None if all of its seeds were flagged.
    """
    images = render(list(zip(inputs, seeds, strict=True)))
    for attempt in range(1, MOST_SEEDS):
        flagged = [at for at, image in enumerate(images) if image is None]
        if not flagged:
            return images
        log.info("%d of %d images were flagged by the safety checker: other seeds", len(flagged), len(images))
        again = render([(inputs[at], derive_seed(seeds[at], attempt, "flagged")) for at in flagged])
        for at, image in zip(flagged, again, strict=True):
            images[at] = image
    return images
