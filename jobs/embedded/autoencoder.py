"""The autoencoder: 64 pixels to an 8 x 8 latent and back, for any drawing style.

    python -m jobs.embedded.autoencoder --work runs/embedded

Narrow where there are many pixels and wide where there are few. It learns from all styles, turned and recoloured, so
that it reproduces what no vendor of its training draws.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from jobs.embedded.augment import view
from jobs.embedded.command import parser
from jobs.embedded.data import load
from jobs.embedded.loop import Recipe, train
from jobs.embedded.saving import finished, save

RECIPE = Recipe(steps=5400, batch=32, rate=1.5e-3, warmup=200, decay=0.0, average=0.999, seed=2)

CONFIG = {
    "block_out_channels": (16, 32, 96, 192),
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "sample_size": 64,
}

JITTER = 0.05
"""Noise on latents, in their own standard deviation: what a denoiser leaves over must not show."""

SPREAD = 1e-4
"""Weight of the latents' squares: keeps their scale near 1."""


def reconstruction_loss(found_BCHW: torch.Tensor, wanted_BCHW: torch.Tensor) -> torch.Tensor:
    """L1 + L2, L1 on colour differences and on the differences of neighbours: edges stay sharp."""
    error = found_BCHW.float() - wanted_BCHW
    chroma = error - error.mean(dim=1, keepdim=True)
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + error.square().mean() + chroma.abs().mean() + 0.25 * edges


class Training(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.autoencoder = AutoencoderKL(**config)

    def loss(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        latents = self.autoencoder.encode(images_BCHW).latent_dist.mean
        jittered = latents + JITTER * latents.detach().std() * torch.randn_like(latents)
        found = self.autoencoder.decode(jittered).sample
        return reconstruction_loss(found, images_BCHW) + SPREAD * latents.float().square().mean()


def make(work: Path, recipe: Recipe = RECIPE, config: dict = CONFIG) -> None:
    """Train and save as `autoencoder/model` in the working folder, with the latents' scale; nothing if it is there."""
    folder = work / "autoencoder"
    if finished(folder / "model"):
        return
    data = load(work)
    pixels = torch.from_numpy(data.pixels.copy())
    torch.manual_seed(recipe.seed)
    model = Training(config).to(memory_format=torch.channels_last)

    def draw(generator: torch.Generator, batch: int) -> torch.Tensor:
        icons = torch.randint(pixels.shape[0], (batch,), generator=generator)
        styles = torch.randint(pixels.shape[1], (batch,), generator=generator)
        strength = 0.6 if torch.rand((), generator=generator) < 0.5 else 0.0
        return view(pixels[icons, styles], generator, strength).contiguous(memory_format=torch.channels_last)

    average = train(folder, model, recipe, lambda generator, step: model.loss(draw(generator, recipe.batch)))
    autoencoder = average.autoencoder
    with torch.inference_mode():
        latents = autoencoder.encode(draw(torch.Generator().manual_seed(recipe.seed), 512)).latent_dist.mean
    autoencoder.register_to_config(scaling_factor=1 / float(latents.std()))
    save(folder / "model", lambda partial: autoencoder.to(torch.bfloat16).save_pretrained(partial))


if __name__ == "__main__":
    make(parser(__doc__).parse_args().work)
