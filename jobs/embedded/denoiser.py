"""The renderer's denoiser: v-prediction in the autoencoder's latents, told what to draw by MiniLM's token states.

    python -m jobs.embedded.denoiser --work runs/embedded        (needs the autoencoder)

It learns from the sets that may be drawn from, in the vendors' own styles. Latents and token states are computed once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from torch.nn import functional
from transformers import AutoModel

from jobs.embedded.augment import original
from jobs.embedded.command import parser
from jobs.embedded.data import Data, load
from jobs.embedded.loop import Recipe, train
from jobs.embedded.saving import finished, minilm_tokenizer, save
from jobs.embedded.text import captions, one_of_each
from spti_ray.models.bundled import resolve_model

RECIPE = Recipe(steps=3000, batch=128, rate=8e-4, warmup=200, decay=0.01, average=0.998, seed=3)

CONFIG = {
    "sample_size": 8,
    "in_channels": 16,
    "out_channels": 16,
    "block_out_channels": (160, 256),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D",) * 2,
    "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    "cross_attention_dim": 384,
}

MAX_TOKENS = 24

WITHOUT_TEXT = 0.1
"""Part of the images whose text is left out, for guidance."""

SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


class Sampler:
    """Latents with token states of one of their captions."""

    def __init__(self, work: Path, data: Data, autoencoder: AutoencoderKL):
        icons = np.flatnonzero(data.drawn)
        with torch.inference_mode():
            drawings = [
                torch.from_numpy(data.pixels[chunk, 0]) for chunk in np.array_split(icons, len(icons) // 64 + 1)
            ]
            images = torch.cat([original(chunk) for chunk in drawings])
            # Most things look the same mirrored; signs, clocks and letters do not.
            sided = torch.tensor([data.groups[icon] in ("symbols", "objects", "travel-places") for icon in icons])
            mirrored = torch.where(sided[:, None, None, None], images, images.flip(3))
            self.latents = torch.stack([_encode(autoencoder, images), _encode(autoencoder, mirrored)], dim=1)
        each = [captions(data, icon) for icon in icons]
        self.begins = torch.tensor([0] + [len(texts) for texts in each]).cumsum(0)
        self.states, self.nothing = token_states(work, [text for texts in each for text in texts])
        # A name is as likely as another, however many vendors draw it.
        names = [data.names[icon] for icon in icons]
        counts = {name: names.count(name) for name in set(names)}
        self.weights = torch.tensor([1 / counts[name] for name in names])

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents [B, C, H, W], token states [B, L, E])."""
        icons = torch.multinomial(self.weights, batch, replacement=True, generator=generator)
        mirrored = torch.randint(2, (batch,), generator=generator)
        texts = one_of_each(self.begins, icons, generator)
        states = torch.from_numpy(self.states[texts.numpy()]).float()
        states[torch.rand(batch, generator=generator) < WITHOUT_TEXT] = self.nothing
        return self.latents[icons, mirrored], states


def _encode(autoencoder: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    parts = [autoencoder.encode(chunk).latent_dist.mean for chunk in images.split(64)]
    return torch.cat(parts) * autoencoder.config.scaling_factor


@torch.inference_mode()
def token_states(work: Path, texts: list[str]) -> tuple[_Rows, torch.Tensor]:
    """([texts, MAX_TOKENS, 384] float16, the empty text's [MAX_TOKENS, 384]), as the pipeline computes them.

    Padded, and without an attention mask: that is how `StableDiffusionPipeline` calls its text encoder.
    """
    tokenizer = minilm_tokenizer(MAX_TOKENS)
    encoder = AutoModel.from_pretrained(resolve_model("bundled:minilm")).eval()

    def states(some: list[str]) -> torch.Tensor:
        tokens = tokenizer(some, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            return encoder(tokens.input_ids)[0].float()

    kept = work / "denoiser" / "states.npy"
    kept.parent.mkdir(parents=True, exist_ok=True)
    distinct = list(dict.fromkeys(texts))
    shape = (len(distinct), MAX_TOKENS, 384)
    if not kept.exists():
        partial = kept.with_name("states.partial.npy")
        found = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        for start in range(0, len(distinct), 256):
            found[start : start + 256] = states(distinct[start : start + 256]).numpy()
        found.flush()
        partial.rename(kept)
    all_states = np.load(kept, mmap_mode="r")
    if all_states.shape != shape:
        raise ValueError(f"{kept} was made from other captions: delete it")
    rows = {text: row for row, text in enumerate(distinct)}
    return _Rows(all_states, np.array([rows[text] for text in texts])), states([""])[0]


class _Rows:
    """Rows of a stored array, by an index that may name a row many times."""

    def __init__(self, stored: np.ndarray, rows: np.ndarray):
        self._stored, self._rows = stored, rows

    def __getitem__(self, wanted: np.ndarray) -> np.ndarray:
        return self._stored[self._rows[wanted]]


def make(work: Path, recipe: Recipe = RECIPE, config: dict = CONFIG) -> None:
    """Train and save the whole pipeline as `denoiser/model` in the working folder; nothing if it is there."""
    folder = work / "denoiser"
    if finished(folder / "model"):
        return
    if not finished(work / "autoencoder" / "model"):
        raise SystemExit("the denoiser learns in the autoencoder's latents: make the autoencoder first")
    autoencoder = AutoencoderKL.from_pretrained(work / "autoencoder" / "model").float().eval()
    sampler = Sampler(work, load(work), autoencoder)
    scheduler = DDIMScheduler(**SCHEDULER)
    torch.manual_seed(recipe.seed)
    model = UNet2DConditionModel(**config)
    steps = scheduler.config.num_train_timesteps

    def loss_of(generator: torch.Generator, step: int) -> torch.Tensor:
        latents, states = sampler.draw(recipe.batch, generator)
        # Spread evenly over the batch, so that the loss is less noisy than with independent times.
        times = ((torch.arange(recipe.batch) + torch.rand((), generator=generator)) / recipe.batch * steps).long()
        noise = torch.randn(latents.shape, generator=generator)
        noisy = scheduler.add_noise(latents, noise, times)
        wanted = scheduler.get_velocity(latents, noise, times)
        found = model(noisy, times, encoder_hidden_states=states).sample
        return functional.mse_loss(found.float(), wanted)

    average: nn.Module = train(folder, model, recipe, loss_of)

    def write(partial: Path) -> None:
        pipeline = StableDiffusionPipeline(
            vae=autoencoder.to(torch.bfloat16),
            text_encoder=None,
            tokenizer=minilm_tokenizer(MAX_TOKENS),
            unet=average.to(torch.bfloat16),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(partial)

    save(folder / "model", write)


if __name__ == "__main__":
    make(parser(__doc__).parse_args().work)
