"""Makes public work for the bench: the same for a bare engine and for its pool."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from spti_ray.config import Role
from spti_ray.public.engines import RenderJob
from spti_ray.types import WriteRequest

ROLES: tuple[Role, ...] = ("writer", "renderer", "image_embedder", "text_embedder")
"""The roles that work on public streams."""

_COLOURS = ("red", "green", "blue", "yellow", "purple", "grey")
_THINGS = ("fox", "teapot", "sailing boat", "apple", "guitar", "castle", "bicycle", "owl", "lamp", "mountain")
_PROMPT = """Descriptions of simple stickers, each in other words.

Text: a small red house
In other words: a little crimson cottage

Text: a blue bird on a branch
In other words: an azure songbird in a tree

Text: {text}
In other words:"""


def make_items(role: Role, items: int, seed: int) -> list[Any]:
    """Make `items` requests, render jobs, images or texts for a role; another seed gives others."""
    draw = random.Random(f"{role} {seed}")
    texts = [f"a {draw.choice(_COLOURS)} {draw.choice(_THINGS)}, number {draw.randrange(10**6)}" for _ in range(items)]
    if role == "writer":
        return [
            WriteRequest(_PROMPT.format(text=text), 1, draw.randrange(2**31), max_tokens=24, temperature=1.0, top_p=0.9)
            for text in texts
        ]
    if role == "renderer":
        return [RenderJob(text, draw.randrange(2**31)) for text in texts]
    if role == "image_embedder":
        pixels = np.random.default_rng(seed)
        return [pixels.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(items)]
    return texts


def call_arguments(role: Role, items: list[Any]) -> tuple[Any, ...]:
    """The arguments of one call of the engine's method with these items."""
    return ([job.text for job in items], [job.seed for job in items]) if role == "renderer" else (items,)


def count_produced(role: Role, results: list[Any]) -> int:
    """How much was produced: output tokens of a writer, else items.

    Raises:
        RuntimeError: a result is missing.
    """
    if any(result is None for result in results):
        raise RuntimeError(f"the {role} failed on some of its work")
    return sum(result.num_tokens for result in results) if role == "writer" else len(results)
