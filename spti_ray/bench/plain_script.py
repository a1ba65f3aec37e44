"""The peer of a small run: the same models, stage by stage in one process, as a plain script would call them.

Texts by transformers' `generate`, images by diffusers, embeddings by transformers, all on this machine's CPU. There is
no ledger, no resuming, and nothing is certified: noise is numpy's. Run as a program: CONFIG, then the folder for the
images.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spti_ray.config import Config
from spti_ray.config.loading import load_config
from spti_ray.models.engine_process import engine_environment
from spti_ray.models.factory import build_engine, engines_config
from spti_ray.models.pixels import to_png
from spti_ray.private.dataset import load_shard
from spti_ray.public.prompts import draw_attributes, max_tokens, random_prompt, rephrase_prompt, target_length
from spti_ray.types import SINGLE_LABEL, FloatArray, ImageArray, derive_seed


class PlainWriter:
    """The bundled language model by transformers alone."""

    def __init__(self, model: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from spti_ray.models.bundled import resolve_model

        folder = resolve_model(model)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._tokenizer.pad_token = self._tokenizer.pad_token or self._tokenizer.eos_token
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        torch.manual_seed(0)

    def write(self, prompts: list[str], tokens: int, temperature: float, batch_size: int = 64) -> list[str]:
        """The first line of each answer."""
        texts: list[str] = []
        for start in range(0, len(prompts), batch_size):
            batch = self._tokenizer(prompts[start : start + batch_size], return_tensors="pt", padding=True)
            answers = self._model.generate(
                **batch,
                max_new_tokens=tokens,
                do_sample=True,
                temperature=temperature,
                pad_token_id=self._tokenizer.pad_token_id,
                stop_strings=["\n"],
                tokenizer=self._tokenizer,
            )
            written = answers[:, batch["input_ids"].shape[1] :]
            decoded = self._tokenizer.batch_decode(written, skip_special_tokens=True)
            texts += [text.strip().split("\n")[0].strip() or "a sticker" for text in decoded]
        return texts


def main(config: Config, out: Path) -> None:
    """The generations and the images of `config`."""
    rng, prompts, evolution = random.Random(0), config.prompts, config.evolution
    engines = engines_config(config.runtime.engines)
    writer = PlainWriter(engines.writer.model)
    lengths = [target_length(prompts, None, rng) for _ in range(evolution.candidates)]
    asked = [random_prompt(prompts, draw_attributes(prompts, None, rng), length) for length in lengths]
    texts = writer.write(asked, max_tokens(max(lengths)), 1.0)
    renderer = build_engine("renderer", engines.renderer)
    embedder = build_engine("image_embedder", engines.image_embedder)
    records = load_shard(config.data, "record", 0, 1, (SINGLE_LABEL,), None)
    private_PE = embedder.embed_images([record.image for record in records if record.image is not None])
    images, rows_KE = _made(texts, 0, renderer, embedder)
    kept = _selected(private_PE, rows_KE, evolution.survivors)
    for generation in range(1, evolution.generations):
        texts, images, rows_KE = [texts[i] for i in kept], [images[i] for i in kept], rows_KE[kept]
        parents = [texts[i % len(texts)] for i in range(evolution.candidates - len(texts))]
        lengths = [target_length(prompts, len(parent.split()), rng) for parent in parents]
        asked = [rephrase_prompt(prompts, text, length) for text, length in zip(parents, lengths, strict=True)]
        children = writer.write(asked, max_tokens(max(lengths)), evolution.variation.temperature)
        more_images, more_KE = _made(children, generation, renderer, embedder)
        texts, images, rows_KE = texts + children, images + more_images, np.concatenate([rows_KE, more_KE])
        kept = _selected(private_PE, rows_KE, evolution.survivors)
    out.mkdir(parents=True)
    for number, i in enumerate(kept[: config.release.images]):
        (out / f"{number:05d}.png").write_bytes(to_png(images[i]))


def _made(texts: list[str], generation: int, renderer: object, embedder: object) -> tuple[list[ImageArray], FloatArray]:
    seeds = [derive_seed(0, generation, i) for i in range(len(texts))]
    images = renderer.render(texts, seeds)  # type: ignore[attr-defined]
    return images, embedder.embed_images(images)  # type: ignore[attr-defined]


def _selected(private_PE: FloatArray, rows_KE: FloatArray, survivors: float) -> list[int]:
    """The candidates with the most noised votes, best first."""
    votes = np.bincount((private_PE @ rows_KE.T).argmax(axis=1), minlength=len(rows_KE))
    noised = votes + np.random.default_rng(0).normal(0, 4, len(votes))
    return np.argsort(-noised)[: round(survivors * len(votes))].tolist()


if __name__ == "__main__":
    loaded = load_config(Path(sys.argv[1]), ())
    os.environ |= engine_environment("renderer", engines_config(loaded.runtime.engines).renderer)
    main(loaded, Path(sys.argv[2]))
