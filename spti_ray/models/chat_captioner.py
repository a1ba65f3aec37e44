"""A captioner by a vision-language chat model of transformers (Idefics3, SmolVLM, LLaVA, Qwen-VL, ...), greedy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from spti_ray.config import EngineConfig
from spti_ray.models.answers import caption_text, prompt_opens_reasoning, reasoning_template_error, template_arguments
from spti_ray.models.batching import device_of, dtype_of, padded_batches
from spti_ray.models.bundled import model_identity, resolve_model
from spti_ray.models.chat import image_question
from spti_ray.models.checkpoints import load_complete, load_processor, to_device
from spti_ray.models.options import ChatCaptionerOptions
from spti_ray.models.pixels import shrink_to_side
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.types import ImageArray

Inputs = dict[str, torch.Tensor]


class ChatCaptioner:
    """Asks one question about each image, in the model's chat template.

    Images of different shapes may take different numbers of tokens. A micro-batch holds exactly `batch_size` images
    with the same number, so that no image is padded for another: a caption depends only on its image.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = ChatCaptionerOptions.model_validate(config.options)
        self._device = device_of(config)
        self._dtype = dtype_of(config, auto=torch.float32 if self._device.type == "cpu" else torch.bfloat16)
        source, revision = resolve_model(config.model), config.revision
        with quiet_loading():
            self._processor = load_processor(source, revision)
            model = load_complete(AutoModelForImageTextToText, source, self._dtype, revision)
        self._model = model.to(self._device).eval()
        self._prompt = self._processor.apply_chat_template(
            image_question(self._options.prompt),
            add_generation_prompt=True,
            tokenize=False,
            **template_arguments(getattr(self._processor, "chat_template", None), self._options.chat_template_kwargs),
        )
        if prompt_opens_reasoning(self._prompt):
            raise ValueError(reasoning_template_error("captioner", config.model))

    def identity(self) -> dict[str, str]:
        return model_identity(self.config.kind, self.config.model, self.config.revision)

    @torch.inference_mode()
    def caption(self, images: Sequence[ImageArray]) -> list[str]:
        """Return one caption per HWC uint8 RGB image of any size; "" for one of which the model gives none."""
        by_shape: dict[tuple[torch.Size, ...], list[int]] = {}
        inputs = [self._inputs(image) for image in images]
        for at, one in enumerate(inputs):
            by_shape.setdefault(tuple(value.shape for value in one.values()), []).append(at)
        captions = [""] * len(images)
        for group in by_shape.values():
            for batch, num_real in padded_batches(group, self.config.batch_size):
                texts = self._generated([inputs[at] for at in batch])
                for at, text in zip(batch[:num_real], texts, strict=False):
                    captions[at] = text
        return captions

    def _inputs(self, image: ImageArray) -> Inputs:
        """The model's inputs for one image, with a leading axis of length 1."""
        picture = Image.fromarray(shrink_to_side(image, self._options.max_side))
        given = self._options.processor
        return dict(self._processor(text=[self._prompt], images=[picture], return_tensors="pt", **given))

    def _generated(self, batch: list[Inputs]) -> list[str]:
        inputs = {name: torch.cat([one[name] for one in batch]) for name in batch[0]}
        tokens = self._model.generate(
            **to_device(inputs, self._device, self._dtype),
            max_new_tokens=self._options.max_tokens,
            do_sample=False,
            num_beams=1,
        )
        texts = self._processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        # The user set the limit of tokens, so a truncated caption still counts.
        return [caption_text(text) for text in texts]
