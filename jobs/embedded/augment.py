"""Random views of stored drawings: turned, scaled, moved, mirrored, on paper of another colour, in other light."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

SIZE = 64
"""Pixels per side that the models see."""


def original(pixels_BHWC: torch.Tensor) -> torch.Tensor:
    """uint8 drawings, reduced to [B, 3, SIZE, SIZE] in [-1, 1], as the bundled models' processors do."""
    images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1
    return functional.interpolate(images_BCHW, size=(SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)


def view(pixels_BHWC: torch.Tensor, generator: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """A random view of each drawing, [B, 3, SIZE, SIZE] in [-1, 1]; strength 0 only reduces.

    Mirroring is left to one in four: clocks and letters have a side.
    """

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    batch = len(pixels_BHWC)
    images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() / 255
    angle = uniform(-1, 1, batch) * math.radians(15) * strength
    scale = torch.exp(uniform(-0.18, 0.3, batch) * strength)  # how much paper a view shows: above 1 the subject shrinks
    aspect = torch.exp(uniform(-0.12, 0.12, batch) * strength)
    mirror = torch.where(uniform(0, 1, batch) < 0.25 * strength, -1.0, 1.0)
    shear = uniform(-0.1, 0.1, batch) * strength
    shift = uniform(-0.12, 0.12, batch, 2) * strength
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [
        torch.stack([cos * aspect * mirror, -sin + shear, shift[:, 0]], dim=1),
        torch.stack([sin * mirror, cos / aspect, shift[:, 1]], dim=1),
    ]
    theta_B23 = torch.stack(rows, dim=1)
    grid = functional.affine_grid(theta_B23, [batch, 3, SIZE, SIZE], align_corners=False)
    # White is 0 for the sampler, so that what lies outside is paper.
    views = 1 - functional.grid_sample(1 - images_BCHW, grid, mode="bilinear", align_corners=False)
    views = _light(views, uniform, strength)
    return views * 2 - 1


def _light(images_BCHW: torch.Tensor, uniform, strength: float) -> torch.Tensor:
    batch = len(images_BCHW)

    def some(part: float) -> torch.Tensor:
        return (uniform(0, 1, batch, 1, 1, 1) < part * strength).float()

    contrast = 1 + uniform(-0.3, 0.3, batch, 1, 1, 1) * strength
    brightness = uniform(-0.12, 0.12, batch, 1, 1, 1) * strength * some(0.5)
    grey = images_BCHW.mean(dim=1, keepdim=True)
    saturation = 1 + uniform(-0.5, 0.5, batch, 1, 1, 1) * strength
    images_BCHW = grey + (images_BCHW - grey) * saturation
    images_BCHW = (images_BCHW - 1) * contrast + 1 + brightness  # around white, so that paper stays paper
    blurred = functional.avg_pool2d(images_BCHW, 3, stride=1, padding=1, count_include_pad=False)
    blur = some(0.3) * uniform(0, 1, batch, 1, 1, 1)
    images_BCHW = images_BCHW + blur * (blurred - images_BCHW)
    return images_BCHW.clamp(0, 1)
