"""A renderer by any text-to-image pipeline of diffusers; variations come from its image-to-image pipeline."""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from spti_ray.config import EngineConfig
from spti_ray.models.batching import device_of, dtype_of, padded_batches
from spti_ray.models.bundled import model_identity
from spti_ray.models.diffusers_pipeline import call_arguments, image_to_image, load_pipeline, place, tune
from spti_ray.models.flagged import unflagged
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.out_of_memory import largest_fitting_batch
from spti_ray.models.pipeline_classes import ONE_AT_A_TIME
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.types import ImageArray

log = logging.getLogger(__name__)


class DiffusersRenderer:
    """Renders in micro-batches of exactly `batch_size`. Each image has its own generator, on the CPU for any device.

    Out-of-memory errors are raised as they are.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        options = self._options = DiffusersOptions.model_validate(config.options)
        dtype = dtype_of(config, auto=torch.bfloat16)
        self._device = device_of(config)
        with quiet_loading():
            self._pipeline = load_pipeline(config, options, dtype)
            place(self._pipeline, options, self._device)
        self._pipeline.set_progress_bar_config(disable=True)
        if type(self._pipeline).__name__ in ONE_AT_A_TIME:
            self.config = config.model_copy(update={"batch_size": 1})
        if not options.safety_checker and getattr(self._pipeline, "safety_checker", None) is not None:
            self._pipeline.register_modules(safety_checker=None)
        tune(self._pipeline, options)
        self._arguments = call_arguments(type(self._pipeline), options)
        self._varying: tuple[Any, dict[str, Any]] | None = None
        if options.fit_batch:
            self._fit_batch()

    def identity(self) -> dict[str, str]:
        identity = model_identity(self.config.kind, self.config.model, self.config.revision)
        if self._options.text_encoder:
            text_encoder = model_identity(self.config.kind, self._options.text_encoder, None)
            identity["text_encoder"] = f"{text_encoder['model']}@{text_encoder['revision']}"
        if self._options.base:
            base = model_identity(self.config.kind, self._options.base, None)
            identity["base"] = f"{base['model']}@{base['revision']}"
        if self._options.quantization:
            identity["quantization"] = self._options.quantization.backend
        return identity

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray | None]:
        """Render one HWC uint8 RGB image for each text, from its own seed; None for what is `flagged`."""
        if len(texts) != len(seeds):
            raise ValueError(f"{len(texts)} texts but {len(seeds)} seeds")

        def rendered(jobs: Sequence[tuple[str, int]]) -> list[ImageArray | None]:
            images: list[ImageArray | None] = []
            for batch, num_real in padded_batches(jobs, self.config.batch_size):
                images += _run_pipeline(self._pipeline, batch, self._arguments)[:num_real]
            return images

        return unflagged(rendered, list(texts), seeds)

    def sleep(self) -> None:
        """Move the weights to the machine's memory, and give the GPU's back."""
        if self._options.offload is None:  # Else they are there already.
            self._pipeline.to("cpu")
        if self._device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def wake(self) -> None:
        """Move the weights back."""
        if self._options.offload is None:
            self._pipeline.to(self._device)

    def vary(
        self, images: Sequence[ImageArray], texts: Sequence[str], seeds: Sequence[int], strength: float
    ) -> list[ImageArray | None]:
        """Make one variation of each image by image-to-image (SDEdit, Meng et al., arXiv 2108.01073).

        Noise is added to the image up to the share `strength` of the denoising steps, at least one, and these steps
        are then taken with the text.

        Args:
            images: HWC uint8 RGB, of one size.
            texts: One text for each image.
            seeds: One seed for each image.
            strength: In (0, 1].

        Returns:
            One HWC uint8 RGB image for each image; None as `render`.

        Raises:
            ValueError: diffusers has no image-to-image pipeline for this model, or none with a strength.
        """
        pipeline, arguments = self._image_to_image()
        steps = arguments.get("num_inference_steps")
        # diffusers rounds the number of steps down, and refuses to take none.
        least = (1 + 1e-6) / steps if steps else 0.0
        arguments = arguments | {"strength": min(1.0, max(strength, least))}

        def varied(jobs: Sequence[tuple[tuple[ImageArray, str], int]]) -> list[ImageArray | None]:
            made: list[ImageArray | None] = []
            for batch, num_real in padded_batches(jobs, self.config.batch_size):
                origins_BHWC = np.stack([image for (image, _), _ in batch]).astype(np.float32) / 255
                prompts = [(text, seed) for (_, text), seed in batch]
                made += _run_pipeline(pipeline, prompts, arguments | {"image": origins_BHWC})[:num_real]
            return made

        return unflagged(varied, list(zip(images, texts, strict=True)), seeds)

    def _fit_batch(self) -> None:
        """Find the largest micro-batch that fits into the GPU's memory, and start with it."""
        if self._device.type == "cpu":
            log.info("fit_batch: the CPU's memory is not tried out; batches of %d", self.config.batch_size)
            return
        fitting = largest_fitting_batch(
            lambda size: _run_pipeline(self._pipeline, [("word " * 64, at) for at in range(size)], self._arguments),
            self.config.batch_size,
        )
        log.info("fit_batch: micro-batches of %d", fitting)
        self.config = self.config.model_copy(update={"batch_size": fitting})

    def _image_to_image(self) -> tuple[Any, dict[str, Any]]:
        """The image-to-image pipeline with the same components, and the arguments of its calls."""
        if self._varying is None:
            pipeline = image_to_image(self._pipeline)
            if self._options.offload is not None:  # Its hooks belong to one pipeline at a time.
                place(pipeline, self._options, self._device)
            pipeline.set_progress_bar_config(disable=True)
            accepted = inspect.signature(type(pipeline).__call__).parameters
            # Size is the image's own; guidance_rescale, for one, is not known to all of them.
            arguments = {name: value for name, value in self._arguments.items() if name in accepted}
            left_out = sorted(set(self._arguments) - set(arguments) - {"height", "width"})
            if left_out:
                log.info("%s takes no %s: variations go without", type(pipeline).__name__, ", ".join(left_out))
            self._varying = pipeline, arguments
        return self._varying


def _run_pipeline(pipeline: Any, batch: list[tuple[str, int]], arguments: dict[str, Any]) -> list[ImageArray | None]:
    """The images of a batch; None for one that the pipeline's safety checker flagged, and has made black."""
    # Not every pipeline spreads one negative prompt over a batch.
    negative = {
        name: [value] * len(batch)
        for name, value in arguments.items()
        if name.startswith("negative_prompt") and isinstance(value, str)
    }
    result = pipeline(
        prompt=[text for text, _ in batch],
        generator=[torch.Generator("cpu").manual_seed(seed) for _, seed in batch],
        output_type="np",
        **arguments | negative,
    )
    pixels_BHWC = np.rint(np.clip(np.asarray(result.images, dtype=np.float32), 0.0, 1.0) * 255).astype(np.uint8)
    _, height, width, _ = pixels_BHWC.shape
    if (arguments.get("height", height), arguments.get("width", width)) != (height, width):
        # Of pipelines that `render_sizes` does not know: some round a size down, with a warning at most.
        raise ValueError(
            f"runtime.engines.renderer.options: asked for {arguments.get('height')} x {arguments.get('width')} pixels, "
            f"but {type(pipeline).__name__} made {height} x {width}: ask for that, or for a multiple that it renders"
        )
    flags = getattr(result, "nsfw_content_detected", None) or [False] * len(batch)
    return [None if is_flagged else image for image, is_flagged in zip(pixels_BHWC, flags, strict=True)]
