"""The public side's view of the engine pools: lazy streams in, lazy streams out, in order.

Each method pulls from its input as results are wanted and keeps its pool's actors busy meanwhile, so a chain such
as embed_images(render(...write(...))) runs its stages at the same time. `runtime.scheduling.engine_streams` implements
it on pools of actors; unit tests have one in their own process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from spti_ray.types import Completions, FloatArray, WriteRequest


@dataclass(frozen=True)
class RenderJob:
    """One image to render: its text and its own seed. With an `image` (a PNG) it is a variation of that one.

    `strength` is how far from it, in (0, 1]: at 1 nothing of it is left.
    """

    text: str
    seed: int
    image: bytes | None = field(default=None, repr=False)
    strength: float = 0.0


class Engines(Protocol):
    """Streams keep the order of their input. An item that failed for good comes back as None. Images are PNG."""

    def write(self, requests: Iterable[WriteRequest]) -> Iterator[Completions | None]: ...

    def render(self, jobs: Iterable[RenderJob]) -> Iterator[bytes | None]: ...

    def embed_images(self, images: Iterable[bytes]) -> Iterator[FloatArray | None]: ...

    def embed_texts(self, texts: Iterable[str]) -> Iterator[FloatArray | None]: ...
