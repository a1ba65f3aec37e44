"""The interfaces of engines, one for each role. Engines know nothing of privacy or of Ray.

An engine is a class that is constructed from an `EngineConfig`, which loads the model. Methods take and return plain
values and work in padded micro-batches of `batch_size`. They are deterministic functions of their arguments (and
seeds), independent of what else is in the batch as far as the hardware allows. Embeddings are L2-normalised float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from spti_ray.types import Completions, FloatArray, ImageArray, WriteRequest


class EngineDead(RuntimeError):
    """The engine can't be used any more, and its process must be replaced (vLLM's EngineDeadError)."""


class Writer(Protocol):
    """A language model. Async, so that vLLM can batch the requests of many calls continuously."""

    async def write(self, requests: Sequence[WriteRequest]) -> list[Completions]:
        """Return one `Completions` per request, in order; if a request gets no text, only its own texts are empty."""
        ...


class Renderer(Protocol):
    """A text-to-image model."""

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> Sequence[ImageArray | None]:
        """Return one HWC uint8 RGB image per text, each from its own seed; None where there is no image."""
        ...


class ImageVarier(Protocol):
    """What a renderer that can vary images (image-to-image) has beside `render`; `method: pe-image` needs it."""

    def vary(
        self, images: Sequence[ImageArray], texts: Sequence[str], seeds: Sequence[int], strength: float
    ) -> Sequence[ImageArray | None]:
        """Return one HWC uint8 RGB variation per image, of the same size, each from its own text and seed; None where
        there is none.

        `strength` in (0, 1]: near 0 the variation is the image itself, at 1 nothing of the image is left.
        """
        ...


class Captioner(Protocol):
    """An image-to-text model."""

    def caption(self, images: Sequence[ImageArray]) -> list[str]:
        """Return one caption per HWC uint8 RGB image of any size; "" for an image that has none."""
        ...


class ImageEmbedder(Protocol):
    """An image encoder."""

    def embed_images(self, images: Sequence[ImageArray]) -> FloatArray:
        """Return L2-normalised [B, E] float32 rows, one per HWC uint8 RGB image of any size."""
        ...


class PreparingEmbedder(Protocol):
    """What an image embedder may have beside `embed_images`: the same in two steps, so that the first of them is made
    of one batch while the engine has another. Together they give what `embed_images` gives, bit by bit."""

    def prepare_images(self, images: Sequence[ImageArray]) -> list[Any]:
        """Return what the model takes for each HWC uint8 RGB image, on the CPU. May be called by several threads."""
        ...

    def embed_prepared(self, prepared: Sequence[Any]) -> FloatArray:
        """Return rows as `embed_images`, of what `prepare_images` has made."""
        ...


class TextEmbedder(Protocol):
    """A text encoder."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return L2-normalised [B, E] float32 rows, one per text."""
        ...


class Sleeper(Protocol):
    """What an engine needs beside its role's method to share a GPU by turns (`runtime.take_turns`).

    It is loaded awake, and gets no calls while it sleeps. A writer's two methods are async.
    """

    def sleep(self) -> None:
        """Free the GPU's memory, and keep what is needed to wake up soon."""
        ...

    def wake(self) -> None:
        """Restore the state before the sleep. Raises if the GPU's memory is not free."""
        ...


class Judge(Protocol):
    """An encoder that measures images. Its features are not normalised."""

    def features(self, images: Sequence[ImageArray]) -> FloatArray:
        """Return [N, E] float32 rows, one per HWC uint8 RGB image of any size."""
        ...

    def identity(self) -> dict[str, str]:
        """As `Identified`."""
        ...


class ImageTextJudge(Protocol):
    """An image encoder and a text encoder with a common space."""

    def similarities(self, images: Sequence[ImageArray], texts: Sequence[str]) -> FloatArray:
        """Return the [images, texts] float32 cosines."""
        ...

    def identity(self) -> dict[str, str]:
        """As `Identified`."""
        ...


class Identified(Protocol):
    """What every engine has: its identity, for the manifest and the certificate."""

    def identity(self) -> dict[str, str]:
        """Return at least `kind`, `model` and `revision` (a commit, or a hash of the weights for local folders)."""
        ...
