"""What an engine of each role does. Engines know nothing of privacy or Ray.

An engine is a class built from one `EngineConfig`; construction loads the model. Methods take and return plain
values, work in fixed padded micro-batches of `batch_size`, and are deterministic functions of their arguments
(and seeds), whatever else is in the batch as far as the hardware allows. Embeddings are L2-normalised float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spti_ray.types import Completions, FloatArray, ImageArray, WriteRequest


class EngineDead(RuntimeError):
    """The engine can't be used any more; its process must be replaced (vLLM's EngineDeadError)."""


class Writer(Protocol):
    """An LLM. Async, so that many units share one continuous batch."""

    async def write(self, requests: Sequence[WriteRequest]) -> list[Completions]:
        """Return one `Completions` per request, in order; one that has no text costs its own texts alone."""
        ...


class Renderer(Protocol):
    """A text-to-image model."""

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> Sequence[ImageArray | None]:
        """Return one HWC uint8 RGB image per text, each from its own seed; None for one that can't be had."""
        ...


class ImageVarier(Protocol):
    """What a renderer has beside `render` if it can vary images (image-to-image), as `method: pe-image` needs."""

    def vary(
        self, images: Sequence[ImageArray], texts: Sequence[str], seeds: Sequence[int], strength: float
    ) -> list[ImageArray]:
        """Return one HWC uint8 RGB variation per image, of the same size, each from its own text and seed.

        `strength` in (0, 1] is how far from it: near 0 it is the image itself, at 1 nothing of it is left.
        """
        ...


class Captioner(Protocol):
    """An image-to-text model."""

    def caption(self, images: Sequence[ImageArray]) -> list[str]:
        """Return one caption per HWC uint8 RGB image of any size; "" for an image that has none."""
        ...


class ImageEmbedder(Protocol):
    def embed_images(self, images: Sequence[ImageArray]) -> FloatArray:
        """Return L2-normalised [B, E] float32 rows, one per HWC uint8 RGB image of any size."""
        ...


class TextEmbedder(Protocol):
    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return L2-normalised [B, E] float32 rows, one per text."""
        ...


class Sleeper(Protocol):
    """What an engine needs beside its role's method to take turns on a GPU (`runtime.take_turns`).

    It is loaded awake, and asked for nothing while it sleeps. A writer's two are async.
    """

    def sleep(self) -> None:
        """Free the GPU's memory, and keep what it takes to be back soon."""
        ...

    def wake(self) -> None:
        """Be as before the sleep. Raises if the memory is not there."""
        ...


class Judge(Protocol):
    """An encoder that judges images and votes on nothing; its features keep their length."""

    def features(self, images: Sequence[ImageArray]) -> FloatArray:
        """Return [N, E] float32 rows, one per HWC uint8 RGB image of any size."""
        ...

    def identity(self) -> dict[str, str]: ...


class ImageTextJudge(Protocol):
    """Two towers of one space: an image encoder and a text encoder."""

    def similarities(self, images: Sequence[ImageArray], texts: Sequence[str]) -> FloatArray:
        """Return the [images, texts] float32 cosines."""
        ...

    def identity(self) -> dict[str, str]: ...


class Identified(Protocol):
    """Every engine says what it is, for the manifest and the certificate."""

    def identity(self) -> dict[str, str]:
        """Return at least `kind`, `model` and `revision` (a commit, or a hash of the weights for local folders)."""
        ...
