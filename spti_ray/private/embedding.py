# pyright: strict
"""From private images to int16 vectors: engines are called with batches of one fixed shape, retries too.

A vector depends on the rest of its batch no more than the engine makes it. With batch_size 1 each image has a batch of
its own, for whoever does not want to rely on the engine's arithmetic.

An engine's failure costs one image its vector. Whether the run stops is decided on a blank image, which is public:
otherwise a single record could stop it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from spti_ray.models.protocols import EngineDead
from spti_ray.private.captions import NO_CAPTION, PrivateText
from spti_ray.private.safe_errors import ShardError
from spti_ray.private.views import QuantArray, quantise, usable_rows
from spti_ray.types import FloatArray, ImageArray, Space

EmbedImages = Callable[[list[ImageArray]], FloatArray]
"""From B images to float32 [B, E]."""
Caption = Callable[[list[ImageArray]], Sequence[PrivateText | None]]
"""From B images to B captions; None for an image of which the captioner has none, for instance because it declined."""
EmbedTexts = Callable[[list[PrivateText]], FloatArray]
"""From B captions to float32 [B, E]."""

BLANK: ImageArray = np.full((64, 64, 3), 255, dtype=np.uint8)
"""A public image: it fills up batches, and shows whether an engine works at all."""


def embed_captions(caption: Caption, embed_texts: EmbedTexts) -> EmbedImages:
    """An engine that gives each image the embedding of its caption; NaN for an image without a caption."""

    def embed(images: list[ImageArray]) -> FloatArray:
        captions = list(caption(images))
        texts = [PrivateText(NO_CAPTION) if text is None else text for text in captions]
        rows = np.array(embed_texts(texts), dtype=np.float32)
        for i, (image, text) in enumerate(zip(images, captions, strict=True)):
            # A working captioner may have no caption of a blank, so a blank keeps its row.
            if text is None and image is not BLANK:
                rows[i] = np.nan
        return rows

    return embed


class BatchEmbedder:
    """Embeds images with the engines of the voting spaces.

    Args:
        engines: by voting space, what gives a batch of images their embeddings.
        batch_size: the fixed number of images in every call of an engine; blank ones fill it up.
        owner: whose images these are, to begin error texts with: "shard 3".
    """

    def __init__(self, engines: Mapping[Space, EmbedImages], batch_size: int, owner: str) -> None:
        self._engines, self._batch_size, self._owner = dict(engines), batch_size, owner

    def embed(self, images: list[ImageArray]) -> list[dict[Space, QuantArray | None]]:
        """Embed at most `batch_size` images in every space.

        Returns:
            For each image its int16 [E] vector by space; None where the engine gives no usable one (it fails, or gives
            NaN, infinity or zeros), in the batch and then alone.

        Raises:
            EngineDead: the engine is gone.
            ShardError: an engine fails on a blank image too, so that no record is at fault.
        """
        if not images:
            return []
        columns: dict[Space, list[QuantArray | None]] = {
            space: self._vectors(engine, images) for space, engine in self._engines.items()
        }
        return [{space: vectors[i] for space, vectors in columns.items()} for i in range(len(images))]

    def _vectors(self, engine: EmbedImages, images: list[ImageArray]) -> list[QuantArray | None]:
        vectors = self._attempt(engine, images)
        for i in [i for i, vector in enumerate(vectors) if vector is None]:
            vectors[i] = self._attempt(engine, [images[i]])[0]
        if any(vector is None for vector in vectors):
            blank = self._call(engine, [])
            if blank is None or not np.isfinite(blank).all():
                raise ShardError(f"{self._owner}: an engine fails on a blank image too")
        return vectors

    def _attempt(self, engine: EmbedImages, images: list[ImageArray]) -> list[QuantArray | None]:
        embeddings_BE = self._call(engine, images)
        if embeddings_BE is None:
            return [None] * len(images)
        vectors_BE = quantise(embeddings_BE[: len(images)])
        usable_B = usable_rows(vectors_BE)
        return [vector if usable else None for vector, usable in zip(vectors_BE, usable_B, strict=True)]

    def _call(self, engine: EmbedImages, images: list[ImageArray]) -> FloatArray | None:
        """The engine's [batch_size, E] rows for the images and blank ones after them, or None if it fails."""
        try:
            rows = np.asarray(engine(images + [BLANK] * (self._batch_size - len(images))), dtype=np.float32)
        except EngineDead:
            raise
        except Exception:  # noqa: BLE001 an engine may fail in any way, and its text may be private
            return None
        return rows if rows.ndim == 2 and len(rows) == self._batch_size else None
