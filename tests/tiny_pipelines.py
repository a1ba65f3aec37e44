"""Tiny text-to-image pipelines of diffusers' real classes, with random weights, in the layout of their checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.tiny_models import word_tokenizer

CLIP_TOKENS, T5_TOKENS = 16, 512


def _vae(latents: int, **more: Any) -> diffusers.AutoencoderKL:
    """8 pixels a latent."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=4,
        **more,
    )


def _clip(tokenizer: Any) -> transformers.CLIPTextModel:
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=CLIP_TOKENS,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
        )
    )


def save_flux(folder: Path) -> None:
    """FLUX: two encoders, of which T5 reads more; latents in patches of two."""
    torch.manual_seed(0)
    short, long = word_tokenizer(model_max_length=CLIP_TOKENS), word_tokenizer(model_max_length=T5_TOKENS)
    t5 = transformers.T5Config(
        vocab_size=len(long), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, pad_token_id=1
    )
    diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=_vae(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0, scaling_factor=1.0),
        text_encoder=_clip(short),
        tokenizer=short,
        text_encoder_2=transformers.T5EncoderModel(t5),
        tokenizer_2=long,
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
    ).save_pretrained(folder)


def save_stable_diffusion(folder: Path, with_safety_checker: bool = False) -> None:
    """Stable Diffusion, with its real safety checker (of random weights) or without one."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer(model_max_length=CLIP_TOKENS)
    checker: Any = None
    if with_safety_checker:
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

        vision = {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        }
        checker = StableDiffusionSafetyChecker(transformers.CLIPConfig(vision_config=vision, projection_dim=8))
    diffusers.StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=_clip(tokenizer),
        tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=8,
            norm_num_groups=4,
        ),
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=checker,
        feature_extractor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        requires_safety_checker=with_safety_checker,
    ).save_pretrained(folder)
