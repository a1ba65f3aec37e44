"""The training loop that all models share: optimiser, schedule, averaged weights, checkpoints, log.

A run that is cut off goes on from its last checkpoint (every few minutes) when the same command is given again: model,
averaged weights, optimiser, step and random state come back, so that what is learnt does not depend on interruptions
beyond rounding. What is left at the end is the average.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

SAVE_EVERY_S = 240
LOG_EVERY_S = 60

MUON = 3.0
"""Muon's rate, in multiples of AdamW's."""


@dataclass(frozen=True)
class Recipe:
    """What a training depends on besides the data. `average`: decay per step of the exponential moving average."""

    steps: int
    batch: int
    rate: float
    warmup: int
    decay: float
    average: float
    seed: int


def train(
    folder: Path, model: nn.Module, recipe: Recipe, loss_of: Callable[[torch.Generator, int], torch.Tensor]
) -> nn.Module:
    """Train `model` by `loss_of(generator, step)`, a batch's loss, and return its average for evaluation; `model`
    itself is of no use afterwards.

    `loss_of` draws by the generator it is given, and in `torch`'s own random state. `folder` gets `state.pt` and
    `log.jsonl`: step, loss averaged since the last line, rate, images per second, hours. Where `state.pt` says that all
    steps were made, none is made again; if another recipe left it, ValueError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    _as_matrices(model)
    average = AveragedModel(model)
    optimisers = _optimisers(model, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    state = folder / "state.pt"
    step, hours = 0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        if saved["recipe"] != asdict(recipe):
            raise ValueError(f"{state} was left by another recipe: delete it to start again")
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        for optimiser, kept in zip(optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        generator.set_state(saved["generator"])
        torch.set_rng_state(saved["random"])
        step, hours = saved["step"], saved["hours"]

    def save() -> None:
        kept = {
            "recipe": asdict(recipe),
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
            "generator": generator.get_state(),
            "random": torch.get_rng_state(),
            "step": step,
            "hours": hours,
        }
        torch.save(kept, state.with_suffix(".partial"))
        os.replace(state.with_suffix(".partial"), state)

    model.train()
    saved_at = logged_at = lap = time.monotonic()
    total = torch.zeros(())
    logged_step = step
    while step < recipe.steps:
        rate = _rate(recipe, step)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["scale"]
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(generator, step)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        # Early on, the average follows quickly: the first weights are nothing to remember.
        average.multi_avg_fn = get_ema_multi_avg_fn(min(recipe.average, (step + 1) / (step + 10)))
        average.update_parameters(model)
        total += loss.detach().float()
        step += 1
        now = time.monotonic()
        hours += (now - lap) / 3600
        lap = now
        if now - logged_at > LOG_EVERY_S or step == recipe.steps:
            line = {
                "step": step,
                "of": recipe.steps,
                "loss": round(float(total) / (step - logged_step), 5),
                "rate": float(f"{rate:.3g}"),
                "images_per_s": round((step - logged_step) * recipe.batch / (now - logged_at), 1),
                "hours": round(hours, 3),
            }
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(folder.name, line, flush=True)
            logged_at, logged_step = now, step
            total.zero_()
        if now - saved_at > SAVE_EVERY_S or step == recipe.steps:
            save()
            saved_at = lap = time.monotonic()
    return _as_stored(average.module).eval()


def _rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine to a hundredth."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    part = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)


class _Matrix(nn.Module):
    """A convolution's kernel seen as a matrix, [out, in * height * width]."""

    def __init__(self, shape: torch.Size):
        super().__init__()
        self._shape = shape

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        return matrix.view(self._shape)

    def right_inverse(self, kernel: torch.Tensor) -> torch.Tensor:
        return kernel.reshape(len(kernel), -1)


def _as_matrices(model: nn.Module) -> None:
    """Let the optimiser see kernels as matrices, since Muon takes nothing else: in five minutes on the autoencoder that
    is worth 2 dB. The first and last layers stay as they are."""
    for name, module in model.named_modules():
        outermost = any(part in name for part in ("conv_in", "conv_out", "embed"))
        if isinstance(module, nn.Conv2d) and module.groups == 1 and not outermost:
            parametrize.register_parametrization(module, "weight", _Matrix(module.weight.shape))


def _as_stored(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    return model


def _optimisers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside, AdamW for all else; `rate` is AdamW's, and Muon bears `MUON` times as much."""
    inside, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (inside if parameter.ndim == 2 and "embed" not in name and "cls" not in name else rest).append(parameter)
    decayed = [parameter for parameter in rest if parameter.ndim > 1]
    plain = [parameter for parameter in rest if parameter.ndim <= 1]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}],
            betas=(0.9, 0.98),
        )
    ]
    if inside:
        optimisers.append(torch.optim.Muon(inside, weight_decay=recipe.decay, adjust_lr_fn="match_rms_adamw"))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["scale"] = MUON if isinstance(optimiser, torch.optim.Muon) else 1.0
    return optimisers
