"""Parts of tiny diffusers pipelines, with random weights: text encoders, autoencoders, denoisers."""

from __future__ import annotations

from typing import Any

import diffusers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
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


def tiny_tokenizer(limit: int = 77) -> PreTrainedTokenizerFast:
    tokenizer = word_tokenizer()
    tokenizer.model_max_length, tokenizer.chat_template = limit, CHAT
    return tokenizer


def tiny_clip(width: int = 32, projected: bool = False, positions: int = 77) -> Any:
    config = CLIPTextConfig(
        vocab_size=64, hidden_size=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=width, bos_token_id=0, pad_token_id=1, eos_token_id=2, initializer_factor=10.0,
        max_position_embeddings=positions,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def tiny_t5(vocabulary: int = 64) -> Any:
    config = T5Config(
        vocab_size=vocabulary, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, pad_token_id=1, eos_token_id=2,
        initializer_factor=10.0,
    )  # fmt: skip
    return T5EncoderModel(config)


def tiny_vae(latents: int = 4, levels: int = 2, **settings: Any) -> Any:
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=32,
        **kinds,
        **settings,
    )


def tiny_flow_vae(latents: int, levels: int = 2, **settings: Any) -> Any:
    plain = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.06, "scaling_factor": 1.5}
    return tiny_vae(latents, levels, **plain | settings)


def tiny_flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler()


def tiny_unet(width: int, **settings: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=16, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width, **settings,
    )  # fmt: skip


def tiny_qwen_vl() -> Any:
    text = {**LLM, "num_hidden_layers": 2, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    text.pop("head_dim")
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
