"""Tiny diffusers pipelines of real classes with random weights, saved as their checkpoints are: nothing is bundled.

Their images are noise. What they show is what a class does with seeds, batches, sizes and files.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
from diffusers.guiders import AdaptiveProjectedMixGuidance
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from sentencepiece import SentencePieceTrainer
from transformers import (
    ByT5Tokenizer,
    Gemma2Config,
    Gemma2Model,
    GlmImageConfig,
    GlmImageForConditionalGeneration,
    GlmImageImageProcessorPil,
    GlmImageProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from tests.tiny_models import WORDS, word_tokenizer
from tests.tiny_parts import (
    CHAT,
    LLM,
    tiny_clip,
    tiny_flow,
    tiny_flow_vae,
    tiny_qwen_vl,
    tiny_t5,
    tiny_tokenizer,
    tiny_unet,
    tiny_vae,
)


def stable_diffusion() -> Any:
    return diffusers.StableDiffusionPipeline(
        tiny_vae(), tiny_clip(), tiny_tokenizer(), tiny_unet(32), diffusers.DDIMScheduler(), None, None,
        requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> Any:
    unet = tiny_unet(
        64, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80, transformer_layers_per_block=(1, 2),
    )  # fmt: skip
    texts = tiny_clip(), tiny_clip(projected=True)
    return diffusers.StableDiffusionXLPipeline(
        tiny_vae(), *texts, tiny_tokenizer(), tiny_tokenizer(), unet, diffusers.EulerDiscreteScheduler()
    )


def sd3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=64, out_channels=4,
    )  # fmt: skip
    texts = (
        tiny_clip(projected=True),
        tiny_tokenizer(),
        tiny_clip(projected=True),
        tiny_tokenizer(),
        tiny_t5(),
        tiny_tokenizer(),
    )
    return diffusers.StableDiffusion3Pipeline(transformer, tiny_flow(), tiny_flow_vae(4), *texts)


def flux() -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return diffusers.FluxPipeline(
        tiny_flow(), tiny_flow_vae(4), tiny_clip(), tiny_tokenizer(), tiny_t5(), tiny_tokenizer(), transformer
    )


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
    return diffusers.Flux2KleinPipeline(tiny_flow(), vae, texts, tiny_tokenizer(), transformer, is_distilled=True)


def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=(8, 4, 4), axes_lens=(256, 32, 32),
    )  # fmt: skip
    torch.nn.init.normal_(transformer.x_pad_token, std=0.02)
    torch.nn.init.normal_(transformer.cap_pad_token, std=0.02)
    texts = Qwen3Model(Qwen3Config(num_hidden_layers=2, **LLM))
    return diffusers.ZImagePipeline(tiny_flow(), tiny_flow_vae(16), texts, tiny_tokenizer(), transformer)


def qwen_image() -> Any:
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False], latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )  # fmt: skip
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    return diffusers.QwenImagePipeline(tiny_flow(), vae, tiny_qwen_vl(), tiny_tokenizer(1024), transformer)


def bria() -> Any:
    transformer = diffusers.BriaTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    return diffusers.BriaPipeline(transformer, tiny_flow(), tiny_flow_vae(4), tiny_t5(), tiny_tokenizer())


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
    return diffusers.SanaSprintPipeline(tiny_tokenizer(300), texts, vae, transformer, diffusers.SCMScheduler())


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
    vae = tiny_flow_vae(4, 4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    return diffusers.GlmImagePipeline(ByT5Tokenizer(), processor, tiny_t5(384), speaker, vae, transformer, tiny_flow())


@functools.cache
def _sentencepiece_folder() -> TemporaryDirectory[str]:
    """A `tokenizer.model` trained on the words of the tests, there until this process ends: a tokenizer copies it."""
    folder, trained = TemporaryDirectory(), io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS * 20), model_writer=trained, vocab_size=40, hard_vocab_limit=False, minloglevel=2
    )
    Path(folder.name, "tokenizer.model").write_bytes(trained.getvalue())
    return folder


def kolors() -> Any:
    tokenizer = ChatGLMTokenizer(f"{_sentencepiece_folder().name}/tokenizer.model")
    texts = ChatGLMModel(
        ChatGLMConfig(
            num_layers=2, padded_vocab_size=64, hidden_size=32, ffn_hidden_size=37, kv_channels=8,
            num_attention_heads=4, seq_length=256, multi_query_attention=True, multi_query_group_num=2,
            add_qkv_bias=True, original_rope=True,
        )
    )  # fmt: skip
    for parameter in texts.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    unet = tiny_unet(
        32, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80, transformer_layers_per_block=(1, 2),
    )  # fmt: skip
    return diffusers.KolorsPipeline(tiny_vae(), texts, tokenizer, unet, diffusers.EulerDiscreteScheduler())


def hidream() -> Any:
    """Renders 128 x 128 pixels, since a latent of it is one; its Llama is stored with it, as its authors do not."""
    transformer = diffusers.HiDreamImageTransformer2DModel(
        patch_size=8, in_channels=4, out_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, caption_channels=[32, 16], text_emb_dim=64, num_routed_experts=2,
        num_activated_experts=1, axes_dims_rope=(8, 4, 4), max_resolution=(128, 128), llama_layers=[0, 1],
    )  # fmt: skip
    clip = [part for _ in range(2) for part in (tiny_clip(projected=True, positions=248), tiny_tokenizer(248))]
    llama = LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, **LLM))
    more = tiny_t5(), tiny_tokenizer(128), llama, tiny_tokenizer(1024)
    return diffusers.HiDreamImagePipeline(tiny_flow(), tiny_flow_vae(4, 1), *clip, *more, transformer)


def hunyuan_image() -> Any:
    """One guider for texts, another for texts with words in quotes, which ByT5 reads."""
    vae = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 32), layers_per_block=1,
        spatial_compression_ratio=2, sample_size=32, scaling_factor=0.5, downsample_match_channel=False,
        upsample_match_channel=False,
    )  # fmt: skip
    transformer = diffusers.HunyuanImageTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, patch_size=(1, 1), text_embed_dim=16, text_embed_2_dim=32, rope_axes_dim=(8, 8),
    )  # fmt: skip
    guiders = AdaptiveProjectedMixGuidance(), AdaptiveProjectedMixGuidance(guidance_scale=1000.0)
    texts = tiny_qwen_vl(), tiny_tokenizer(2048), tiny_t5(384), ByT5Tokenizer()
    return diffusers.HunyuanImagePipeline(tiny_flow(), vae, *texts, transformer, *guiders)


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
    "KolorsPipeline": kolors,
    "HiDreamImagePipeline": hidream,
    "HunyuanImagePipeline": hunyuan_image,
    "GlmImagePipeline": glm_image,
}
"""What makes a tiny pipeline of each class."""


def save_tiny(name: str, folder: Path, seed: int = 0, **how: Any) -> str:
    """Save a tiny pipeline of class `name`, the same for a seed; returns its folder, as a setting has it."""
    torch.manual_seed(seed)
    TINY[name]().save_pretrained(folder, **how)
    return str(folder)
