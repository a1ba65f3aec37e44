"""The model that DP fine-tuning trains: the UNet of a Stable Diffusion pipeline, on latents of its frozen autoencoder.

The latents of all records, [P, C, H, W], are kept, so that the autoencoder sees each image once. The text of a record
is the public prompt of its label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional

from spti_ray.config import EngineConfig, FinetuneConfig
from spti_ray.finetuning.public_interface import UnfitPipeline
from spti_ray.models.batching import device_of
from spti_ray.models.diffusers_pipeline import load_pipeline
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.quiet_loading import quiet_loading
from spti_ray.types import ImageArray

WITHOUT_TEXT = 0.1
"""Share of the draws that are trained without text, as classifier-free guidance needs."""

_ENCODED_AT_ONCE = 32


class Denoiser:
    """The parts of a pipeline that training needs, in float32 on the engine's device."""

    def __init__(self, renderer: EngineConfig) -> None:
        self._options = DiffusersOptions.model_validate(renderer.options)
        self._device = device_of(renderer)
        with quiet_loading():
            self._pipeline: Any = load_pipeline(renderer, self._options, torch.float32)
        if not isinstance(self._pipeline, StableDiffusionPipeline):
            raise UnfitPipeline(
                f"dp-finetune trains Stable Diffusion 1 and 2 pipelines, and {renderer.model} is a "
                f"{type(self._pipeline).__name__}"
            )
        self._pipeline.to(self._device)
        for part in (self._pipeline.vae, self._pipeline.text_encoder, self._pipeline.unet):
            part.requires_grad_(False).eval()
        self._scheduler: Any = DDPMScheduler.from_config(self._pipeline.scheduler.config)

    @property
    def unet(self) -> nn.Module:
        """The pipeline's UNet."""
        return self._pipeline.unet

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels: the renderer's options, or what its model was made for."""
        usual = self._pipeline.unet.config.sample_size * self._pipeline.vae_scale_factor
        return self._options.height or usual, self._options.width or usual

    @torch.no_grad()
    def latents(self, images: Iterable[ImageArray]) -> Tensor:
        """Encode images: the scaled means of the autoencoder's latents.

        Args:
            images: P images, HWC uint8 RGB of any size. Each is resized and centre-cropped to `size`.

        Returns:
            Latents [P, C, H, W].
        """
        height, width = self.size
        vae = self._pipeline.vae
        found: list[Tensor] = []
        batch: list[ImageArray] = []

        def encode() -> None:
            pixels_BHWC = torch.from_numpy(np.stack(batch)).to(self._device)
            images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1
            found.append(vae.encode(images_BCHW).latent_dist.mean * vae.config.scaling_factor)
            batch.clear()

        for image in images:
            fitted = ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.BICUBIC)
            batch.append(np.asarray(fitted))
            if len(batch) == _ENCODED_AT_ONCE:
                encode()
        if batch:
            encode()
        shape = (0, vae.config.latent_channels, height // self._pipeline.vae_scale_factor, width)
        return torch.cat(found) if found else torch.zeros(shape, device=self._device)

    @torch.no_grad()
    def states(self, texts: Sequence[str]) -> Tensor:
        """Encode texts: the token states [texts, L, E] that condition the pipeline."""
        return self._pipeline.encode_prompt(list(texts), self._device, 1, False)[0]

    def trainable(self, settings: FinetuneConfig) -> nn.Module:
        """The UNet to train: with adapters (`lora`), or with all of its weights (`full`).

        Raises:
            UnfitPipeline: the UNet has none of the modules that adapters are asked for.
        """
        unet = self._pipeline.unet
        if settings.mode == "full":
            return unet.requires_grad_(True)
        adapters = LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=list(settings.targets))
        try:
            return get_peft_model(unet, adapters)
        except ValueError:
            raise UnfitPipeline(f"finetune.targets: the UNet has no module {', '.join(settings.targets)}") from None

    def losses(self, unet: nn.Module, latents: Tensor, states: Tensor, times: Tensor) -> Tensor:
        """The denoising losses: mean squared errors of the UNet's prediction (velocity, noise or image).

        Args:
            unet: The UNet, with or without adapters.
            latents: [B, C, H, W].
            states: Token states [B, L, E].
            times: [B], in [0, 1): how far along the noise schedule.

        Returns:
            Losses [B].
        """
        steps = (times * self._scheduler.config.num_train_timesteps).long()
        noise = torch.randn_like(latents)
        noisy = self._scheduler.add_noise(latents, noise, steps)
        kind = self._scheduler.config.prediction_type
        if kind == "v_prediction":
            wanted = self._scheduler.get_velocity(latents, noise, steps)
        else:
            wanted = noise if kind == "epsilon" else latents
        found = unet(noisy, steps, encoder_hidden_states=states).sample
        return functional.mse_loss(found, wanted, reduction="none").mean(dim=(1, 2, 3))

    def save(self, trained: nn.Module, folder: Path) -> None:
        """Write the pipeline with the trained UNet, adapters merged, in float32: smaller types lose small changes.

        A text encoder that the renderer's options give is left out, as the base model leaves it out.
        """
        unet: Any = trained
        if hasattr(unet, "merge_and_unload"):
            unet = unet.merge_and_unload()
        self._pipeline.unet = unet.requires_grad_(False).eval()
        if self._options.text_encoder:
            self._pipeline.register_modules(text_encoder=None)
        with quiet_loading():
            self._pipeline.save_pretrained(folder)
