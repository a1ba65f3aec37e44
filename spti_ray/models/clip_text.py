"""Embeds texts by the text tower of a CLIP or SigLIP model, into the space of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from spti_ray.config import EngineConfig
from spti_ray.models.batching import device_of, dtype_of
from spti_ray.models.bundled import ModelMissing, model_identity, resolve_model
from spti_ray.models.checkpoints import load_complete
from spti_ray.models.embedders import embedded, tokens_of
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
        return embedded(texts, self.config.batch_size, self._rows)

    def _rows(self, texts: list[str]) -> torch.Tensor:
        """The projected state of each text, [B, E]."""
        # SigLIP was trained without a mask: its tokenizer gives none.
        tokens = tokens_of(self._tokenizer, texts, self._length).to(self._device)
        return self._project(self._tower(**tokens).pooler_output)
