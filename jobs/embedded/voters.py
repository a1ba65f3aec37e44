"""Spaces in which private images could vote: what the bundled models make of images and texts, layer by layer.

For `jobs.compare_voters`, which asks in which of them they had better vote. Centring and whitening know the public
candidates alone: what a private image votes for must not depend on other private images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from transformers import AutoModelForImageTextToText, CLIPVisionModelWithProjection

from spti_ray.models.bundled import package_file, revision_of
from spti_ray.models.embedders import SentenceEmbedder
from spti_ray.models.factory import EMBEDDED
from spti_ray.models.quiet_loading import quiet_loading

_BATCH = 32
_SIDE = 64

TOWERS = ("sticker-clip", "sticker-blip")

Features = dict[str, np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]
"""The candidates' rows and the private images', of length 1: a record votes for the largest inner product."""

Space = Callable[[Features, Features], Pair]
"""Makes rows of the candidates' features, which have `text` beside those of images, and of the private images'."""


def image_features(images: Sequence[np.ndarray]) -> Features:
    """Features of HWC uint8 RGB images, [N, E] each and not normalised, by name.

    `clip` and `blip` are what the two networks' towers put out, as the engines do. `clip/cls5` is the state of the
    class token after the fifth of six layers, `clip/mean5` the mean of the patches' states there. `vae` is the latent
    image of the renderer's autoencoder, `pixels8` the image in 8 by 8 pixels, `colours` the square root of a histogram.
    """
    small = [np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)) for image in images]
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1  # as all three networks take it
    found: Features = {}
    with torch.inference_mode(), quiet_loading():
        for name in TOWERS:
            found |= _tower(name, pixels)
        vae = AutoencoderKL.from_pretrained(package_file("models/sticker-sd/vae")).float().eval()
        latents = [vae.encode(batch).latent_dist.mean.flatten(1) for batch in pixels.split(_BATCH)]
        found["vae"] = torch.cat(latents).numpy()
    for side in (8, 16):
        tiles = np.stack(small).reshape(len(small), side, _SIDE // side, side, _SIDE // side, 3)
        found[f"pixels{side}"] = tiles.mean(axis=(2, 4)).reshape(len(small), -1) / 255
    bins = (np.stack(small) // 64 @ np.array([16, 4, 1])).reshape(len(small), -1)
    found["colours"] = np.sqrt(np.stack([np.bincount(row, minlength=64) / row.size for row in bins]))
    return {name: rows.astype(np.float64) for name, rows in found.items()}


def text_features(texts: Sequence[str]) -> np.ndarray:
    """[N, E] rows of length 1, in the space into which `clip` was trained to embed images."""
    return SentenceEmbedder(EMBEDDED.text_embedder).embed_texts(texts).astype(np.float64)


def revisions() -> dict[str, str]:
    """The hash of each model's weights."""
    return {name: revision_of(str(package_file(f"models/{name}"))) for name in (*TOWERS, "sticker-sd")}


def spaces() -> dict[str, Space]:
    """All spaces by name; the first is that of a run's default voter."""
    found: dict[str, Space] = {}
    for name in ("clip", "blip"):
        found[name] = partial(_plain, name)
        found[f"{name}, centred"] = partial(_centred, name)
        found[f"{name}, whitened"] = partial(_whitened, name)
        for layer in ("cls5", "mean3", "mean6"):
            found[f"{name}/{layer}, centred"] = partial(_centred, f"{name}/{layer}")
    for name in ("vae", "pixels8", "pixels16", "colours"):
        found[name] = partial(_plain, name)
        found[f"{name}, centred"] = partial(_centred, name)
    for name, weight in (("pixels8", 0.1), ("pixels8", 0.25), ("colours", 0.25), ("blip", 0.5)):
        found[f"clip + {weight} {name}, centred"] = partial(
            _sum, partial(_centred, "clip"), partial(_centred, name), weight
        )
    found["text by clip"], found["text by clip, centred"] = _text, _text_centred
    for weight in (0.25, 0.5, 0.75):
        found[f"clip + {weight} text"] = partial(_sum, partial(_plain, "clip"), _text, weight)
        found[f"clip + {weight} text, centred"] = partial(_sum, partial(_centred, "clip"), _text_centred, weight)
    return found


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _plain(name: str, public: Features, private: Features) -> Pair:
    return unit(public[name]), unit(private[name])


def _centred(name: str, public: Features, private: Features) -> Pair:
    mean = public[name].mean(axis=0)
    return unit(public[name] - mean), unit(private[name] - mean)


def _whitened(name: str, public: Features, private: Features) -> Pair:
    """Centred, and by the inverse root of the candidates' covariance, to which its mean variance is added."""
    mean = public[name].mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(public[name].T, bias=True))
    scaled = vectors / np.sqrt(np.maximum(values, 0) + values.mean())
    return unit((public[name] - mean) @ scaled), unit((private[name] - mean) @ scaled)


def _text(public: Features, private: Features) -> Pair:
    return unit(public["text"]), unit(private["clip"])


def _text_centred(public: Features, private: Features) -> Pair:
    """Texts less the mean of the candidates' texts, images less the mean of the candidates' renders."""
    return unit(public["text"] - public["text"].mean(axis=0)), unit(private["clip"] - public["clip"].mean(axis=0))


def _sum(first: Space, second: Space, weight: float, public: Features, private: Features) -> Pair:
    """Rows whose inner products are the weighted sums of both spaces' similarities; `weight` is the second's."""
    parts = zip(first(public, private), second(public, private), strict=True)
    candidates, records = (np.hstack([(1 - weight) ** 0.5 * a, weight**0.5 * b]) for a, b in parts)
    return candidates, records


def _tower(name: str, pixels: torch.Tensor) -> Features:
    folder, short = str(package_file(f"models/{name}")), name.removeprefix("sticker-")
    if short == "clip":
        model = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32).eval()
    else:
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).vision_model.eval()
    rows: dict[str, list[torch.Tensor]] = {}
    for batch in pixels.split(_BATCH):
        output = model(pixel_values=batch, output_hidden_states=True)
        rows.setdefault(short, []).append(output["image_embeds" if short == "clip" else "pooler_output"])
        for layer, states in enumerate(output.hidden_states):
            rows.setdefault(f"{short}/cls{layer}", []).append(states[:, 0])
            rows.setdefault(f"{short}/mean{layer}", []).append(states[:, 1:].mean(dim=1))
    return {key: torch.cat(parts).numpy() for key, parts in rows.items()}
