"""The settings of method dp-finetune."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spti_ray.config.section import Section


class FinetuneConfig(Section):
    """Method `dp-finetune`: DP-SGD on the renderer's UNet, to compare with. All of it is public."""

    mode: Literal["lora", "full"] = "lora"
    rank: int = Field(default=4, ge=1, description="Of the adapters (mode lora).")
    targets: tuple[str, ...] = Field(
        default=("to_q", "to_k", "to_v", "to_out.0"), description="Modules of the UNet that get adapters."
    )
    records_estimate: int = Field(
        default=1000,
        ge=1,
        description="Order of magnitude of the records (or groups), publicly known: the true number is private. A "
        "wrong one changes the size of batches, not the guarantee.",
    )
    batch_size: int = Field(default=250, ge=1, description="Expected records per step, if the estimate is right.")
    steps: int = Field(default=60, ge=1, le=100_000)
    spare_steps: int = Field(default=3, ge=0, le=10_000, description="Paid for, and used by steps that a crash loses.")
    draws: int = Field(default=2, ge=1, le=256, description="Noises and times per record, averaged before clipping.")
    clip_norm: float = Field(default=0.03, gt=0)
    learning_rate: float = Field(default=0.01, gt=0)
    average_decay: float = Field(default=0.95, ge=0, lt=1, description="Per step, of the averaged weights.")
    records_at_once: int = Field(default=16, ge=1, description="Whose gradients are in memory together.")
    save_every_s: float = Field(default=120.0, ge=0)
