"""A Stable Diffusion pipeline as one file in the layout of its authors (latent-diffusion)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

_RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "time_emb_proj.": "emb_layers.1.",
    "conv_shortcut.": "skip_connection.",
}
_UNET = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}
_VAE_ATTENTION = {"group_norm.": "norm.", "to_q.": "q.", "to_k.": "k.", "to_v.": "v.", "to_out.0.": "proj_out."}


def save_as_one_file(pipeline: Any, file: Path) -> str:
    """Of a StableDiffusionPipeline with one layer a block; returns the file, as a setting has it."""
    unet, vae = pipeline.unet.state_dict(), pipeline.vae.state_dict()
    weights = {f"model.diffusion_model.{_of_unet(name)}": value for name, value in unet.items()}
    levels = len(pipeline.vae.config.block_out_channels)
    for name, value in vae.items():
        theirs = _of_vae(name, levels)
        is_linear = ".attn_1." in theirs and value.dim() == 2
        weights[f"first_stage_model.{theirs}"] = value[..., None, None] if is_linear else value
    for name, value in pipeline.text_encoder.state_dict().items():
        inner = name if name.startswith("text_model.") else f"text_model.{name}"
        weights[f"cond_stage_model.transformer.{inner}"] = value
    save_file({name: value.detach().clone().contiguous().to(torch.float16) for name, value in weights.items()}, file)
    return str(file)


def _of_unet(name: str) -> str:
    for ours, theirs in _UNET.items():
        if name.startswith(ours):
            return _inner(theirs + name.removeprefix(ours))
    side, block, kind, layer, rest = re.fullmatch(
        r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name
    ).groups()  # type: ignore[union-attr]
    at, which = int(block), {"resnets": 0, "attentions": 1}.get(kind)
    if kind == "downsamplers":
        return f"input_blocks.{2 * (at + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":  # After resnet and attention, in the same block.
        return f"output_blocks.{2 * at + 1}.2.{rest}"
    number = 2 * at + 1 + int(layer) if side == "down" else 2 * at + int(layer)
    return _inner(f"{'input' if side == 'down' else 'output'}_blocks.{number}.{which}.{rest}")


def _inner(name: str) -> str:
    for ours, theirs in _RESNET.items():
        # Transformer blocks have names like these too.
        if "transformer_blocks" not in name:
            name = name.replace(f".{ours}", f".{theirs}")
    return name


def _of_vae(name: str, levels: int) -> str:
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
        for ours, theirs in _VAE_ATTENTION.items():
            name = name.replace(f"attn_1.{ours}", f"attn_1.{theirs}")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", name)
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
