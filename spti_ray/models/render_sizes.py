"""Which sizes a pipeline renders: multiples of its latents' patches, in pixels.

Some pipelines round other sizes down without a word (FLUX and Qwen-Image make 64 of 72 pixels), some refuse them at the
first image. Here they are known from the checkpoint's own settings, before anything is loaded.
"""

from __future__ import annotations

import math

from spti_ray.config import EngineConfig
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.pipeline_files import PipelineFiles

_PATCH_OF_TRANSFORMER = 0

_RULES: tuple[tuple[str, int, int], ...] = (
    ("StableDiffusion3", _PATCH_OF_TRANSFORMER, 1),
    ("StableDiffusion", 1, 8),
    ("LatentConsistency", 1, 8),
    ("Kolors", 1, 8),
    ("HunyuanImage", 1, 1),
    ("PixArt", _PATCH_OF_TRANSFORMER, 8),
    ("Sana", 1, 32),
    ("CogView3Plus", _PATCH_OF_TRANSFORMER, 8),
    ("CogView4", 1, 16),
    *((family, 2, 1) for family in ("Flux", "Chroma", "QwenImage", "ZImage", "Lumina", "AuraFlow", "OvisImage")),
    *((family, 2, 1) for family in ("LongCatImage", "HiDreamImage", "Bria")),
)
"""(beginning of the class's name, latents a patch, pixels): a size is a multiple of both, where a latent is as many
pixels as the VAE says. Of `check_inputs` and `prepare_latents` of each class in diffusers 0.42.1."""


_OF_ONE_AREA = "HiDreamImage"
"""Renders about the square of so many latents, whatever is asked: only the shape counts."""

_SIDE_IN_LATENTS = 128


def size_multiple(config: EngineConfig) -> int:
    """The number of pixels of which heights and widths must be multiples; 1 for a pipeline of which nothing is known.

    Args:
        config: of a renderer of kind `diffusers`.
    """
    files = PipelineFiles.of(config)
    rule = next((rule for rule in _RULES if files.class_name.startswith(rule[0])), None)
    if rule is None:
        return 1
    _, patch, pixels = rule
    if patch == _PATCH_OF_TRANSFORMER:
        patch = int(files.settings("transformer").get("patch_size") or 2)
    return math.lcm(_vae_scale(files) * patch, pixels)


def check_render_size(config: EngineConfig) -> None:
    """Check that the renderer makes images of the size that its options ask for.

    Args:
        config: of a renderer of kind `diffusers`.

    Raises:
        ValueError: it does not; one line with the nearest sizes that it makes.
    """
    options = DiffusersOptions.model_validate(config.options)
    asked = {"height": options.height, "width": options.width}
    if not any(asked.values()):
        return
    files = PipelineFiles.of(config)
    if files.class_name.startswith(_OF_ONE_AREA):
        _check_area(config, options, _vae_scale(files))
        return
    multiple = size_multiple(config)
    for name, pixels in asked.items():
        if pixels and pixels % multiple:
            below, above = pixels // multiple * multiple, -(-pixels // multiple) * multiple
            raise ValueError(
                f"runtime.engines.renderer.options.{name}: is {pixels}, but {config.model} renders multiples of "
                f"{multiple} pixels: {f'{below} or ' if below else ''}{above}"
            )


def _check_area(config: EngineConfig, options: DiffusersOptions, scale: int) -> None:
    side = _SIDE_IN_LATENTS * scale
    asked = options.height or side, options.width or side
    made = size_of_area(*asked, scale)
    for _ in range(16):  # What is told is asked for next, and must be made as it is; a few are enough.
        made = size_of_area(*made, scale)
    if made != asked:
        raise ValueError(
            f"runtime.engines.renderer.options: height and width are {asked[0]} and {asked[1]}, but {config.model} "
            f"renders about {side} x {side} pixels, whatever is asked: in this shape {made[0]} and {made[1]}"
        )


def size_of_area(height: int, width: int, scale: int) -> tuple[int, int]:
    """What HiDream makes of a height and a width, in pixels, where a latent has `scale` of them a side."""
    patch = 2 * scale
    factor = math.sqrt((_SIDE_IN_LATENTS * scale) ** 2 / (width * height))
    height, width = (max(patch, int(pixels * factor // patch * patch)) for pixels in (height, width))
    return height, width


def _vae_scale(files: PipelineFiles) -> int:
    """Pixels a latent, as the pipelines take it from the VAE's settings."""
    vae = files.settings("vae")
    if files.class_name.startswith("Lumina"):
        return 8
    if isinstance(halved := vae.get("temperal_downsample"), list):
        return 2 ** len(halved)
    if isinstance(ratio := vae.get("spatial_compression_ratio"), int):
        return ratio
    blocks = vae.get("encoder_block_out_channels") or vae.get("block_out_channels")
    if isinstance(blocks, list):
        return 2 ** (len(blocks) - 1)
    return 32 if files.class_name.startswith(("Sana", "HunyuanImage")) else 8
