"""The held-out denoising loss, for tuning on PUBLIC images.

On private images the loss would be private, and no epsilon would cover a setting that is chosen by it.
"""

from __future__ import annotations

import torch

from spti_ray.config import Config, EngineConfig
from spti_ray.finetuning.denoiser import Denoiser
from spti_ray.finetuning.private_units import read_units
from spti_ray.finetuning.public_interface import label_prompts
from spti_ray.models.factory import engines_config
from spti_ray.private.dataset import load_shard

_BATCH = 64


@torch.no_grad()
def held_out_loss(config: Config, engine: EngineConfig | None = None, draws: int = 4, seed: int = 0) -> float:
    """The loss that training minimises, averaged over images that were not trained on.

    Args:
        config: Names the PUBLIC images (`data`), labels and prompts.
        engine: The renderer to judge; the configuration's own by default.
        draws: Seeded draws of time and noise per image.
        seed: Seed of the draws.
    """
    prompts = label_prompts(config)
    denoiser = Denoiser(engine or engines_config(config.runtime.engines).renderer)
    records = load_shard(config.data, "record", 0, 1, config.evolution.label_names)
    data = read_units(denoiser, records, list(prompts))
    states = denoiser.states(list(prompts.values()))
    rows = torch.arange(len(data.units)).repeat_interleave(draws)
    torch.manual_seed(seed)
    times = (torch.arange(draws).repeat(len(data.units)) + torch.rand(len(rows))) / draws
    total = 0.0
    for part in torch.arange(len(rows)).split(_BATCH):
        chosen = rows[part]
        losses = denoiser.losses(
            denoiser.unet, data.latents[chosen], states[data.labels[chosen]], times[part].to(data.latents.device)
        )
        total += float(losses.sum())
    return total / len(rows)
