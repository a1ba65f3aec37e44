"""Tiny diffusers pipelines of real classes with random weights, saved as their checkpoints are: nothing is bundled.

Their images are noise. What they show is what a class does with seeds, batches, sizes and files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GlmImageConfig,
    GlmImageForConditionalGeneration,
    GlmImageImageProcessorPil,
    GlmImageProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from tests.tiny_models import word_tokenizer

CHAT = "{% for message in messages %}{{ message['role'] }} : {{ message['content'] }}\n{% endfor %}"
LLM = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 1024,
    "initializer_range": 0.5,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}


def _tokenizer(limit: int = 77) -> PreTrainedTokenizerFast:
    tokenizer = word_tokenizer()
    tokenizer.model_max_length, tokenizer.chat_template = limit, CHAT
    return tokenizer


def _clip(width: int = 32, projected: bool = False) -> Any:
    config = CLIPTextConfig(
        vocab_size=64, hidden_size=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=width, bos_token_id=0, pad_token_id=1, eos_token_id=2, initializer_factor=10.0,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5(vocabulary: int = 64) -> Any:
    config = T5Config(
        vocab_size=vocabulary, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, pad_token_id=1, eos_token_id=2,
        initializer_factor=10.0,
    )  # fmt: skip
    return T5EncoderModel(config)


def _vae(latents: int = 4, levels: int = 2, **settings: Any) -> Any:
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=32,
        **kinds,
        **settings,
    )


def _flow_vae(latents: int, levels: int = 2, **settings: Any) -> Any:
    plain = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.06, "scaling_factor": 1.5}
    return _vae(latents, levels, **plain | settings)


def _flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler()


def _unet(width: int, **settings: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=16, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width, **settings,
    )  # fmt: skip


def stable_diffusion() -> Any:
    return diffusers.StableDiffusionPipeline(
        _vae(), _clip(), _tokenizer(), _unet(32), diffusers.DDIMScheduler(), None, None, requires_safety_checker=False
    )  # fmt: skip


def sdxl() -> Any:
    unet = _unet(
        64, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80, transformer_layers_per_block=(1, 2),
    )  # fmt: skip
    texts = _clip(), _clip(projected=True)
    return diffusers.StableDiffusionXLPipeline(
        _vae(), *texts, _tokenizer(), _tokenizer(), unet, diffusers.EulerDiscreteScheduler()
    )


def sd3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=64, out_channels=4,
    )  # fmt: skip
    texts = _clip(projected=True), _tokenizer(), _clip(projected=True), _tokenizer(), _t5(), _tokenizer()
    return diffusers.StableDiffusion3Pipeline(transformer, _flow(), _flow_vae(4), *texts)


def flux() -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return diffusers.FluxPipeline(_flow(), _flow_vae(4), _clip(), _tokenizer(), _t5(), _tokenizer(), transformer)


def flux2_klein() -> Any:
    vae = diffusers.AutoencoderKLFlux2(
        sample_size=32, down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,), layers_per_block=1, latent_channels=1, norm_num_groups=1, use_quant_conv=False,
        use_post_quant_conv=False,
    )  # fmt: skip
    # The pipeline takes the states of the layers 9, 18 and 27.
    texts = Qwen3ForCausalLM(Qwen3Config(num_hidden_layers=28, **LLM))
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=256, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    return diffusers.Flux2KleinPipeline(_flow(), vae, texts, _tokenizer(), transformer, is_distilled=True)


def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=(8, 4, 4), axes_lens=(256, 32, 32),
    )  # fmt: skip
    torch.nn.init.normal_(transformer.x_pad_token, std=0.02)
    torch.nn.init.normal_(transformer.cap_pad_token, std=0.02)
    texts = Qwen3Model(Qwen3Config(num_hidden_layers=2, **LLM))
    return diffusers.ZImagePipeline(_flow(), _flow_vae(16), texts, _tokenizer(), transformer)


def qwen_image() -> Any:
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False], latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )  # fmt: skip
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    text = {**LLM, "num_hidden_layers": 2, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    text.pop("head_dim")
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    texts = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
    return diffusers.QwenImagePipeline(_flow(), vae, texts, _tokenizer(1024), transformer)


def bria() -> Any:
    transformer = diffusers.BriaTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    return diffusers.BriaPipeline(transformer, _flow(), _flow_vae(4), _t5(), _tokenizer())


def sana_sprint() -> Any:
    blocks = ("ResBlock", "EfficientViTBlock")
    vae = diffusers.AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=blocks, decoder_block_types=blocks,
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)), encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
        downsample_block_type="conv", upsample_block_type="interpolate", scaling_factor=0.4,
    )  # fmt: skip
    transformer = diffusers.SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=16,
        sample_size=32, qk_norm="rms_norm_across_heads", guidance_embeds=True,
    )  # fmt: skip
    texts = Gemma2Model(Gemma2Config(num_hidden_layers=1, query_pre_attn_scalar=8, **LLM))
    return diffusers.SanaSprintPipeline(_tokenizer(300), texts, vae, transformer, diffusers.SCMScheduler())


def glm_image() -> Any:
    """A language model draws tokens of the image first, with the seed of a batch's first generator."""
    tokens = {"image_token": "<image>", "grid_bos_token": "<sop>", "grid_eos_token": "<eop>"}
    spoken = word_tokenizer(*tokens.values(), extra_special_tokens=tokens)
    spoken.padding_side, spoken.chat_template = "left", CHAT.replace("['content']", "['content'][0]['text']")
    text = {**LLM, "num_hidden_layers": 1, "vision_vocab_size": 64, "eos_token_id": 63, "image_token_id": 4}
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}}
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "image_size": 64}
    codes = {"embed_dim": 8, "num_embeddings": 64, "latent_channels": 16}
    speaker = GlmImageForConditionalGeneration(
        GlmImageConfig(
            text_config=text, vision_config=vision, vq_config=codes, image_start_token_id=62, image_end_token_id=63,
            image_token_id=spoken.convert_tokens_to_ids("<image>"),
        )
    )  # fmt: skip
    speaker.generation_config.eos_token_id, speaker.generation_config.pad_token_id = None, 1
    transformer = diffusers.GlmImageTransformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        text_embed_dim=32, time_embed_dim=16, condition_dim=8, prior_vq_quantizer_codebook_size=64,
    )  # fmt: skip
    torch.nn.init.normal_(transformer.prior_token_embedding.weight, std=5.0)
    processor = GlmImageProcessor(GlmImageImageProcessorPil(), spoken, chat_template=spoken.chat_template)
    vae = _flow_vae(4, 4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    return diffusers.GlmImagePipeline(ByT5Tokenizer(), processor, _t5(384), speaker, vae, transformer, _flow())


TINY: dict[str, Callable[[], Any]] = {
    "StableDiffusionPipeline": stable_diffusion,
    "StableDiffusionXLPipeline": sdxl,
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
    "Flux2KleinPipeline": flux2_klein,
    "ZImagePipeline": z_image,
    "QwenImagePipeline": qwen_image,
    "BriaPipeline": bria,
    "SanaSprintPipeline": sana_sprint,
    "GlmImagePipeline": glm_image,
}
"""What makes a tiny pipeline of each class."""


def save_tiny(name: str, folder: Path, seed: int = 0, **how: Any) -> str:
    """Save a tiny pipeline of class `name`, the same for a seed; returns its folder, as a setting has it."""
    torch.manual_seed(seed)
    TINY[name]().save_pretrained(folder, **how)
    return str(folder)
