"""The renderer: any text-to-image pipeline of diffusers, one per device, and its image-to-image twin for variations."""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image, AutoPipelineForText2Image
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers import AutoModel

from spti_ray.config import EngineConfig
from spti_ray.models.batching import device_of, dtype_of, padded_batches
from spti_ray.models.bundled import identify, resolve
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.quiet import quiet
from spti_ray.types import ImageArray

log = logging.getLogger(__name__)


class DiffusersRenderer:
    """Renders in batches of exactly `batch_size`; each image has its own CPU generator, whatever the device.

    An out-of-memory error is raised as it is.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        options = DiffusersOptions.model_validate(config.options)
        self._text_encoder = options.text_encoder
        dtype = dtype_of(config, auto=torch.bfloat16)
        self._device = device_of(config)
        with quiet():
            self._pipeline = load_pipeline(config, options, dtype).to(self._device)
        self._pipeline.set_progress_bar_config(disable=True)
        _tune(self._pipeline, options)
        self._arguments = _call_arguments(self._pipeline, options)
        self._varying: tuple[Any, dict[str, Any]] | None = None

    def identity(self) -> dict[str, str]:
        identity = identify(self.config.kind, self.config.model, self.config.revision)
        if self._text_encoder:
            text_encoder = identify(self.config.kind, self._text_encoder, None)
            identity["text_encoder"] = f"{text_encoder['model']}@{text_encoder['revision']}"
        return identity

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray]:
        """Return one HWC uint8 RGB image per text, each from its own seed."""
        if len(texts) != len(seeds):
            raise ValueError(f"{len(texts)} texts but {len(seeds)} seeds")
        images: list[ImageArray] = []
        for batch, num_real in padded_batches(list(zip(texts, seeds, strict=True)), self.config.batch_size):
            images += _called(self._pipeline, batch, self._arguments)[:num_real]
        return images

    def sleep(self) -> None:
        """Move the weights to the machine's memory, and give the GPU's back."""
        self._pipeline.to("cpu")
        if self._device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def wake(self) -> None:
        """Move the weights back."""
        self._pipeline.to(self._device)

    def vary(
        self, images: Sequence[ImageArray], texts: Sequence[str], seeds: Sequence[int], strength: float
    ) -> list[ImageArray]:
        """Return one HWC uint8 RGB image per image, each from its own text and seed, by image-to-image (SDEdit).

        Noise is added up to the share `strength` of the denoising steps, at least one of them, and those are taken
        under the text. ValueError if diffusers has no image-to-image pipeline for this model.
        """
        pipeline, arguments = self._twin()
        steps = arguments.get("num_inference_steps")
        # diffusers rounds the number of steps down, and refuses to take none.
        least = (1 + 1e-6) / steps if steps else 0.0
        arguments = arguments | {"strength": min(1.0, max(strength, least))}
        varied: list[ImageArray] = []
        for batch, num_real in padded_batches(list(zip(images, texts, seeds, strict=True)), self.config.batch_size):
            origins_BHWC = np.stack([image for image, _, _ in batch]).astype(np.float32) / 255
            jobs = [(text, seed) for _, text, seed in batch]
            varied += _called(pipeline, jobs, arguments | {"image": origins_BHWC})[:num_real]
        return varied

    def _twin(self) -> tuple[Any, dict[str, Any]]:
        """The image-to-image pipeline on the same components, and those of the settings that it takes."""
        if self._varying is None:
            pipeline = AutoPipelineForImage2Image.from_pipe(self._pipeline)
            pipeline.set_progress_bar_config(disable=True)
            accepted = inspect.signature(type(pipeline).__call__).parameters
            # Size is the image's own; guidance_rescale, for one, is not known to all of them.
            arguments = {name: value for name, value in self._arguments.items() if name in accepted}
            left_out = sorted(set(self._arguments) - set(arguments) - {"height", "width"})
            if left_out:
                log.info("%s takes no %s: variations go without", type(pipeline).__name__, ", ".join(left_out))
            self._varying = pipeline, arguments
        return self._varying


def _called(pipeline: Any, batch: list[tuple[str, int]], arguments: dict[str, Any]) -> list[ImageArray]:
    result = pipeline(
        prompt=[text for text, _ in batch],
        generator=[torch.Generator("cpu").manual_seed(seed) for _, seed in batch],
        output_type="np",
        **arguments,
    )
    pixels_BHWC = np.rint(np.clip(np.asarray(result.images, dtype=np.float32), 0.0, 1.0) * 255).astype(np.uint8)
    return list(pixels_BHWC)


def load_pipeline(config: EngineConfig, options: DiffusersOptions, dtype: torch.dtype) -> Any:
    """The pipeline of `config.model`, with the text encoder that its options may give, on the CPU."""
    source = resolve(config.model)
    if options.text_encoder is None:
        return AutoPipelineForText2Image.from_pretrained(source, revision=config.revision, dtype=dtype)
    text_encoder = AutoModel.from_pretrained(resolve(options.text_encoder), dtype=dtype)
    # A note that the text encoder is no CLIP one, which is the point; only this call is silenced.
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        return DiffusionPipeline.from_pretrained(
            source, revision=config.revision, text_encoder=text_encoder, dtype=dtype
        )
    finally:
        diffusers_logging.set_verbosity(verbosity)


def _tune(pipeline: Any, options: DiffusersOptions) -> None:
    """Settings for memory and speed; what a model does not support is left out with a note in the log."""
    if options.vae_slicing:
        pipeline.vae.enable_slicing()
    if options.vae_tiling:
        pipeline.vae.enable_tiling()
    denoiser: Any = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    if options.attention_backend and hasattr(denoiser, "set_attention_backend"):
        try:
            denoiser.set_attention_backend(options.attention_backend)
        except (ImportError, RuntimeError, ValueError) as error:
            log.warning("attention backend %s is not used: %s", options.attention_backend, str(error).splitlines()[0])
    if options.compile:
        if getattr(denoiser, "_repeated_blocks", None):
            denoiser.compile_repeated_blocks(fullgraph=True)
        else:
            log.warning("%s has no repeated blocks to compile", type(denoiser).__name__)


def _call_arguments(pipeline: Any, options: DiffusersOptions) -> dict[str, Any]:
    """Arguments of every call; unset options are left to the pipeline."""
    named = {
        "num_inference_steps": options.steps,
        "guidance_scale": options.guidance_scale,
        "guidance_rescale": options.guidance_rescale,
        "height": options.height,
        "width": options.width,
    }
    arguments = {name: value for name, value in named.items() if value is not None} | options.extra
    accepted = inspect.signature(type(pipeline).__call__).parameters
    unknown = sorted(set(arguments) - set(accepted))
    if unknown:
        raise ValueError(f"runtime.engines.renderer.options: {type(pipeline).__name__} takes no {', '.join(unknown)}")
    return arguments
