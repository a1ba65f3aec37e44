"""Loads judges: encoders that measure images, and image-text models that score an image against its text.

A judge is named like any model: `bundled:sticker-blip`, a folder, a Hugging Face id, a short name of one, or
`inception:FILE`. Features are the model's pooled output, unscaled, as in published figures. Those of the small bundled
models are scaled to length sqrt(E), since the cubic kernel of KID expects coordinates of about size 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPModel

from spti_ray.config import EngineConfig
from spti_ray.models.batching import device_of, padded_batches
from spti_ray.models.bundled import (
    BUNDLED_PAIR,
    PREFIX,
    SHORT_NAMES,
    ModelMissing,
    ModelNotFound,
    is_inception,
    model_identity,
    resolve_model,
)
from spti_ray.models.checkpoints import load_complete, load_image_processor
from spti_ray.models.embedders import SentenceEmbedder, VisionEmbedder
from spti_ray.models.factory import EMBEDDED
from spti_ray.models.inception_embedder import InceptionEmbedder
from spti_ray.models.presence import inception_file, no_inception
from spti_ray.models.protocols import ImageTextJudge, Judge
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.models.vision import VisionTower
from spti_ray.types import FloatArray, ImageArray


def open_judge(name: str, *, gpu: bool = False, batch_size: int = 32) -> Judge:
    """Load the judge `name`.

    Raises:
        ModelNotFound: Inception's file is not there; of others see `presence.check_judge`.
        ModelMissing: it can't be loaded, or its file lacks weights; one line that says what to do.
    """
    if is_inception(name):
        file = inception_file(name)
        if not file.is_file():
            raise ModelNotFound(f"judge {name}: {no_inception(name)}")
        config = EngineConfig(kind="inception", model=str(file), num_gpus=float(gpu), batch_size=batch_size)
        return _load_or_explain(name, lambda: InceptionEmbedder(config))
    return VisionJudge(name, gpu, batch_size)


def open_image_text_judge(name: str, *, gpu: bool = False, batch_size: int = 32) -> ImageTextJudge:
    """Load a CLIP model with both towers; `bundled:sticker-clip` is paired with the sentence encoder of its space.

    Raises:
        ModelMissing: as `open_judge`.
    """
    return BundledPair(gpu, batch_size) if name == BUNDLED_PAIR else ClipPair(name, gpu, batch_size)


class VisionJudge:
    """A judge by the vision tower of a transformers model."""

    def __init__(self, name: str, gpu: bool, batch_size: int):
        self._config = _config("judge", name, gpu, batch_size)
        device = device_of(self._config)
        self._tower = _load_or_explain(
            name, lambda: VisionTower(resolve_model(self._config.model), torch.float32, device)
        )
        self._is_scaled = name.startswith(PREFIX)

    def identity(self) -> dict[str, str]:
        return model_identity(self._config.kind, self._config.model, self._config.revision)

    def features(self, images: Sequence[ImageArray]) -> FloatArray:
        batches = padded_batches(images, self._config.batch_size)
        features_NE = torch.cat([self._tower(batch)[:num_real] for batch, num_real in batches])
        if self._is_scaled:
            features_NE = torch.nn.functional.normalize(features_NE, dim=-1) * features_NE.shape[1] ** 0.5
        return features_NE.numpy()


class BundledPair:
    """sticker-clip, and the sentence encoder into whose space it was trained to embed."""

    def __init__(self, gpu: bool, batch_size: int):
        sizes = {"num_gpus": float(gpu), "batch_size": batch_size}
        self._images = VisionEmbedder(EMBEDDED.image_embedder.model_copy(update=sizes))
        self._texts = SentenceEmbedder(EMBEDDED.text_embedder.model_copy(update=sizes))

    def identity(self) -> dict[str, str]:
        return self._images.identity()

    def similarities(self, images: Sequence[ImageArray], texts: Sequence[str]) -> FloatArray:
        return self._images.embed_images(images) @ self._texts.embed_texts(texts).T


class ClipPair:
    """An image-text judge by both towers of a CLIP checkpoint."""

    def __init__(self, name: str, gpu: bool, batch_size: int):
        self._config = _config("clip", name, gpu, batch_size)
        self._device = device_of(self._config)
        source = resolve_model(self._config.model)
        with quiet_loading():
            self._model: Any = (
                _load_or_explain(name, lambda: load_complete(CLIPModel, source, torch.float32)).to(self._device).eval()
            )
            self._processor = _load_or_explain(name, lambda: load_image_processor(source))
            self._tokenizer = _load_or_explain(name, lambda: AutoTokenizer.from_pretrained(source))

    def identity(self) -> dict[str, str]:
        return model_identity(self._config.kind, self._config.model, self._config.revision)

    @torch.inference_mode()
    def similarities(self, images: Sequence[ImageArray], texts: Sequence[str]) -> FloatArray:
        image_rows, text_rows = [], []
        for batch, num_real in padded_batches(images, self._config.batch_size):
            inputs = self._processor([Image.fromarray(image) for image in batch], return_tensors="pt")
            states = self._model.vision_model(pixel_values=inputs["pixel_values"].to(self._device)).pooler_output
            image_rows.append(self._model.visual_projection(states)[:num_real])
        length = self._model.config.text_config.max_position_embeddings
        for batch, num_real in padded_batches(texts, self._config.batch_size):
            tokens = self._tokenizer(
                batch, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
            ).to(self._device)
            states = self._model.text_model(**tokens).pooler_output
            text_rows.append(self._model.text_projection(states)[:num_real])
        images_NE, texts_NE = (
            torch.nn.functional.normalize(torch.cat(rows).float(), dim=-1) for rows in (image_rows, text_rows)
        )
        return (images_NE @ texts_NE.T).cpu().numpy()


def _config(kind: str, name: str, gpu: bool, batch_size: int) -> EngineConfig:
    return EngineConfig(kind=kind, model=SHORT_NAMES.get(name, name), num_gpus=float(gpu), batch_size=batch_size)


def _load_or_explain(name: str, load: Callable[[], Any]) -> Any:
    """Call `load`. ModelMissing, in one line, if it fails; its text may be shown: no private image is involved."""
    try:
        return load()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, ModelMissing):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelMissing(
            f"judge {name}: can't be loaded ({reason[:160]}); give a folder or a Hugging Face id"
        ) from None
