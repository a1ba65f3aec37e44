"""The vision tower of a transformers checkpoint, which gives one row per image; for embedders and judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, CLIPVisionModelWithProjection

from spti_ray.models.bundled import ModelMissing
from spti_ray.models.checkpoints import load_complete, load_image_processor, to_device
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.types import ImageArray

ModelInputs = dict[str, torch.Tensor]
"""The inputs of one image, each [1, ...]."""


class VisionTower:
    """Computes CLIP's projected image embedding; of BLIP, SigLIP, SigLIP 2, DINOv2 and others the pooled output.

    The model's own image processor resizes images, and may crop them to their centre.
    """

    def __init__(self, source: str, dtype: torch.dtype, device: torch.device, revision: str | None = None) -> None:
        """Load the tower and try it on two images of different shapes.

        Raises:
            ModelMissing: it lacks weights, an output of one row per image, or one size for all images.
        """
        self._dtype, self._device = dtype, device
        with quiet_loading():
            self._model, self._output = _tower(source, dtype, revision)
            self._processor = load_image_processor(source, revision)
        self._model = self._model.to(device).eval()
        # If it failed on all private images later, none of them would have a vote, and nobody would be told.
        wide, tall = np.zeros((48, 96, 3), np.uint8), np.zeros((96, 48, 3), np.uint8)
        try:
            self._inputs([wide, tall])
        except ValueError:
            raise ModelMissing(f"{source}: its image processor does not bring images to one size") from None
        self.dimension = int(self([wide]).shape[1])

    def __call__(self, images: Sequence[ImageArray]) -> torch.Tensor:
        """[B, E] float32 rows on the CPU, one per HWC uint8 RGB image of any size."""
        return self._rows(self._inputs(images))

    def prepare(self, image: ImageArray) -> ModelInputs:
        """What the model takes for one image, on the CPU; several threads may do this at a time."""
        return dict(self._processor([Image.fromarray(image)], return_tensors="pt"))

    def of_prepared(self, prepared: Sequence[ModelInputs]) -> torch.Tensor:
        """As a call on the images that these were prepared from: a processor treats each image by itself."""
        return self._rows({name: torch.cat([one[name] for one in prepared]) for name in prepared[0]})

    @torch.inference_mode()
    def _rows(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        rows_BE = getattr(self._model(**to_device(inputs, self._device, self._dtype)), self._output, None)
        if rows_BE is None:
            raise ModelMissing(f"{type(self._model).__name__} has no output of one row per image ({self._output})")
        return rows_BE.float().cpu()

    def _inputs(self, images: Sequence[ImageArray]) -> Mapping[str, torch.Tensor]:
        return self._processor([Image.fromarray(image) for image in images], return_tensors="pt")


def _tower(source: str, dtype: torch.dtype, revision: str | None) -> tuple[Any, str]:
    """The model, and the name of its output that is [B, E]."""
    config = AutoConfig.from_pretrained(source, revision=revision)
    kind = config.model_type
    if kind in {"clip", "clip_vision_model"}:
        of_tower = config
        if kind == "clip":
            # LAION's checkpoints say the size of the projection here alone, and the tower has a default of its own.
            of_tower = config.vision_config
            of_tower.projection_dim = config.projection_dim
        return load_complete(CLIPVisionModelWithProjection, source, dtype, revision, of_tower), "image_embeds"
    if kind == "blip":
        return load_complete(AutoModelForImageTextToText, source, dtype, revision).vision_model, "pooler_output"
    model = load_complete(AutoModel, source, dtype, revision)
    return getattr(model, "vision_model", model), "pooler_output"  # SigLIP and other pairs of towers
