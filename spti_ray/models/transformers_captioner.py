"""A captioner by any image-to-text model of transformers without a chat template (BLIP, GIT, Florence-2), greedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer

from spti_ray.config import EngineConfig
from spti_ray.models.answers import caption_text
from spti_ray.models.batching import device_of, dtype_of, padded_batches
from spti_ray.models.bundled import model_identity, resolve_model
from spti_ray.models.checkpoints import load_complete, load_image_processor, load_processor, to_device
from spti_ray.models.options import CaptionerOptions
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.types import ImageArray


class TransformersCaptioner:
    """Captions in micro-batches of exactly `batch_size`, by greedy decoding: a caption depends only on its image."""

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = CaptionerOptions.model_validate(config.options)
        self._device = device_of(config)
        self._dtype = dtype_of(config, auto=torch.float32 if self._device.type == "cpu" else torch.bfloat16)
        source, revision = resolve_model(config.model), config.revision
        with quiet_loading():
            model = load_complete(AutoModelForImageTextToText, source, self._dtype, revision)
            self._images = load_image_processor(source, revision)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source, revision=revision)
            self._processor = load_processor(source, revision) if self._options.prompt else None
        self._model = model.to(self._device).eval()

    def identity(self) -> dict[str, str]:
        return model_identity(self.config.kind, self.config.model, self.config.revision)

    @torch.inference_mode()
    def caption(self, images: Sequence[ImageArray]) -> list[str]:
        """Return one caption per HWC uint8 RGB image of any size."""
        captions: list[str] = []
        for batch, num_real in padded_batches(images, self.config.batch_size):
            inputs = self._inputs([Image.fromarray(image) for image in batch])
            tokens = self._model.generate(
                **inputs, max_new_tokens=self._options.max_tokens, do_sample=False, num_beams=1
            )
            texts = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
            captions += [self._clean(text) for text in texts[:num_real]]
        return captions

    def _clean(self, text: str) -> str:
        """The caption without the prompt, which decoders repeat. Truncated captions count: these models run on."""
        return caption_text(text.strip().removeprefix(self._options.prompt or ""))

    def _inputs(self, images: list[Image.Image]) -> dict[str, torch.Tensor]:
        if self._processor is not None:
            inputs = self._processor(images=images, text=[self._options.prompt] * len(images), return_tensors="pt")
        else:
            inputs = self._images(images, return_tensors="pt")
        return to_device(inputs, self._device, self._dtype)
