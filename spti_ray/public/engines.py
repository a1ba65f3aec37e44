"""The interface through which the public side uses engines: lazy streams in, lazy streams out, in order.

Each method pulls from its input as results are wanted, and keeps its engines busy meanwhile. So the stages of a chain
such as embed_images(render(...write(...))) run at the same time. `runtime/scheduling/engine_streams.py` implements it
on pools of engines; unit tests have an implementation of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from spti_ray.types import PNG_LEVEL, Completions, FloatArray, Image, WriteRequest


@dataclass(frozen=True)
class RenderJob:
    """One image to render, from its text and its own seed. With an `image` (PNG), a variation of that image.

    `strength` in (0, 1]: how far the variation is from the image; at 1 nothing of the image is left. `png_level`: how
    hard the result is compressed.
    """

    text: str
    seed: int
    image: bytes | None = field(default=None, repr=False)
    strength: float = 0.0
    png_level: int = PNG_LEVEL


class Engines(Protocol):
    """Streams through engines, in the order of their input. An item that failed for good is None. Images are PNG.

    They need not be in this process: who wants their bytes reads them (`io.images`), and who hands them on does not.
    """

    def write(self, requests: Iterable[WriteRequest]) -> Iterator[Completions | None]:
        """Complete prompts: one `Completions` for each request."""
        ...

    def render(self, jobs: Iterable[RenderJob]) -> Iterator[Image | None]:
        """Render images: one PNG for each job."""
        ...

    def embed_images(self, images: Iterable[Image]) -> Iterator[FloatArray | None]:
        """Embed PNG images: one L2-normalised row [E] for each."""
        ...

    def embed_texts(self, texts: Iterable[str]) -> Iterator[FloatArray | None]:
        """Embed texts: one L2-normalised row [E] for each."""
        ...
