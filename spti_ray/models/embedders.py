"""Embedders of images and of texts by transformers: L2-normalised float32 rows, in padded micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from spti_ray.config import EngineConfig
from spti_ray.models.batching import Item, device_of, dtype_of, padded_batches
from spti_ray.models.bundled import model_identity, resolve_model
from spti_ray.models.checkpoints import from_any_weights
from spti_ray.models.engine_process import threads_beside
from spti_ray.models.options import ImageEmbedderOptions, SentenceOptions
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.models.vision import ModelInputs, VisionTower
from spti_ray.types import FloatArray, ImageArray


class VisionEmbedder:
    """Embeds images by the vision tower of any transformers model: CLIP, SigLIP, SigLIP 2, DINOv2, ..."""

    def __init__(self, config: EngineConfig):
        self.config = config
        ImageEmbedderOptions.model_validate(config.options)
        self._beside = ThreadPoolExecutor(threads_beside(config), "preparing images")
        device = device_of(config)
        self._tower = VisionTower(
            resolve_model(config.model), dtype_of(config, auto=torch.float32), device, config.revision
        )

    def identity(self) -> dict[str, str]:
        return model_identity(self.config.kind, self.config.model, self.config.revision)

    def embed_images(self, images: Sequence[ImageArray]) -> FloatArray:
        """Return L2-normalised [B, E] float32 rows, one per HWC uint8 RGB image of any size."""
        return self.embed_prepared(self.prepare_images(images))

    def prepare_images(self, images: Sequence[ImageArray]) -> list[ModelInputs]:
        """Resize the images, and whatever else the model's processor does to them, on several threads."""
        return list(self._beside.map(self._tower.prepare, images))

    def embed_prepared(self, prepared: Sequence[ModelInputs]) -> FloatArray:
        """The rows of `embed_images`, from what `prepare_images` has made."""
        return embedded(prepared, self.config.batch_size, self._tower.of_prepared, self._tower.dimension)


class SentenceEmbedder:
    """Embeds texts by a sentence-transformers checkpoint with mean pooling.

    Every text is padded or cut to `max_tokens`, so that one text of a batch can't change the shape of the others. The
    checkpoint is loaded by transformers: importing sentence_transformers costs 9 s more.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._max_tokens = SentenceOptions.model_validate(config.options).max_tokens
        self._device = device_of(config)
        source = resolve_model(config.model)
        with quiet_loading():
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source, revision=config.revision)
            model = from_any_weights(AutoModel, source, dtype_of(config, auto=torch.float32), config.revision)
        self._model = model.to(self._device).eval()
        self._dimension = int(self._model.config.hidden_size)

    def identity(self) -> dict[str, str]:
        return model_identity(self.config.kind, self.config.model, self.config.revision)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return L2-normalised [B, E] float32 rows, one per text."""
        return embedded(texts, self.config.batch_size, self._mean, self._dimension)

    def _mean(self, texts: list[str]) -> torch.Tensor:
        """The mean state of each text's tokens, [B, E]."""
        inputs = tokens_of(self._tokenizer, texts, self._max_tokens).to(self._device)
        states_BLE = self._model(**inputs).last_hidden_state.float()
        mask_BL1 = inputs["attention_mask"].unsqueeze(-1).float()
        return (states_BLE * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1.0)


def tokens_of(tokenizer: Any, texts: list[str], length: int) -> Any:
    """The tokens of texts, each padded or cut to one length."""
    return tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")


def embedded(
    items: Sequence[Item], batch_size: int, embed: Callable[[list[Item]], torch.Tensor], dimension: int = 0
) -> FloatArray:
    """Embed items in padded micro-batches.

    Args:
        items: what `embed` takes.
        batch_size: items in each micro-batch.
        embed: from a micro-batch to its [B, E] rows.
        dimension: E, for where there are no items.

    Returns:
        L2-normalised float32 rows, one per item.
    """
    rows = [normalised(embed(batch))[:num_real] for batch, num_real in padded_batches(items, batch_size)]
    return np.concatenate(rows) if rows else np.zeros((0, dimension), np.float32)


def normalised(rows_BE: torch.Tensor) -> FloatArray:
    """Return the [B, E] rows L2-normalised in float32, on the CPU."""
    return torch.nn.functional.normalize(rows_BE.float(), dim=-1).cpu().numpy()
