"""Embeds texts by the text tower of a CLIP or SigLIP model, into the space of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from spti_ray.config import EngineConfig
from spti_ray.models.batching import device_of, dtype_of, padded_batches
from spti_ray.models.bundled import ModelMissing, model_identity, resolve_model
from spti_ray.models.checkpoints import load_complete
from spti_ray.models.embedders import normalised
from spti_ray.models.options import ClipTextOptions
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.types import FloatArray

_KNOWN = ("clip", "siglip", "siglip2")


class ClipTextEmbedder:
    """The text half of a pair of towers, whose other half is `vision` with the same model.

    Texts are padded or cut to the tower's own length.
    """

    def __init__(self, config: EngineConfig):
        """Load the tower.

        Raises:
            ModelMissing: the model is none of a known kind, or lacks weights.
        """
        self.config = config
        ClipTextOptions.model_validate(config.options)
        self._device = device_of(config)
        source = resolve_model(config.model)
        with quiet_loading():
            kind = AutoConfig.from_pretrained(source, revision=config.revision).model_type
            if kind not in _KNOWN:
                raise ModelMissing(f"{config.model}: is of kind {kind}, and clip-text takes {', '.join(_KNOWN)}")
            model = load_complete(AutoModel, source, dtype_of(config, auto=torch.float32), config.revision)
            self._tokenizer = AutoTokenizer.from_pretrained(source, revision=config.revision)
        # Only CLIP projects its pooled states; SigLIP's head is a part of its tower.
        self._project: Any = getattr(model, "text_projection", None) or torch.nn.Identity()
        self._length = int(model.config.text_config.max_position_embeddings)
        self._tower: Any = model.text_model.to(self._device).eval()
        self._project.to(self._device)

    def identity(self) -> dict[str, str]:
        return model_identity(self.config.kind, self.config.model, self.config.revision)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return L2-normalised [B, E] float32 rows, one per text."""
        rows: list[FloatArray] = []
        for batch, num_real in padded_batches(texts, self.config.batch_size):
            tokens = self._tokenizer(
                batch, padding="max_length", truncation=True, max_length=self._length, return_tensors="pt"
            ).to(self._device)
            # SigLIP was trained without a mask: its tokenizer gives none.
            rows_BE = self._project(self._tower(**tokens).pooler_output)[:num_real]
            rows.append(normalised(rows_BE))
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
