"""How good the models are on drawings of vendors they have never seen: figures and sample sheets.

    python -m jobs.embedded.evaluate --work runs/embedded              what was trained there
    python -m jobs.embedded.evaluate --work runs/embedded --bundled    what comes with the package

Writes `figures.json` and sheets (PNG) to `evaluation/` or `evaluation-bundled/` in the working folder. The models run
as the engines of a run do. Models that are not there are left out.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from diffusers import AutoencoderKL
from PIL import Image

from jobs.embedded.augment import SIZE
from jobs.embedded.command import parser
from jobs.embedded.sheets import captioned, pairs
from jobs.embedded.text import sentence_embeddings
from spti_ray.models.bundled import package_file
from spti_ray.models.diffusers_renderer import DiffusersRenderer
from spti_ray.models.embedders import VisionEmbedder
from spti_ray.models.factory import EMBEDDED
from spti_ray.models.transformers_captioner import TransformersCaptioner

RENDERS = 200


@dataclass(frozen=True)
class HeldOut:
    """The sample set: [N, SIZE, SIZE, 3] uint8 images with names, sources and labels."""

    images: np.ndarray
    names: list[str]
    sources: list[str]
    labels: list[str]


def held_out() -> HeldOut:
    table = pq.read_table(package_file("data/stickers.parquet")).to_pydict()
    images = [
        Image.open(io.BytesIO(image["bytes"])).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX)
        for image in table["image"]
    ]
    return HeldOut(np.stack([np.asarray(image) for image in images]), table["name"], table["source"], table["label"])


def found(embeds_NE: np.ndarray, names_ME: np.ndarray, right_N: np.ndarray) -> dict[str, float]:
    """How often the right one of M names is the nearest, and among the five nearest."""
    nearest = np.argsort(-embeds_NE @ names_ME.T, axis=1, kind="stable")[:, :5]
    hits = nearest == right_N[:, None]
    return {"top-1": round(float(hits[:, 0].mean()), 3), "top-5": round(float(hits.any(axis=1).mean()), 3)}


def autoencoder_figures(folder: Path, data: HeldOut, sheet: Path) -> dict[str, Any]:
    """Peak signal-to-noise ratio in dB of the mean squared error over all images, and by source."""
    model = AutoencoderKL.from_pretrained(folder).float().eval()
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        latents = [model.encode(chunk).latent_dist.mean for chunk in images.split(64)]
        decoded = torch.cat([model.decode(chunk).sample.clamp(-1, 1) for chunk in latents])
    errors = ((decoded - images) / 2).square().mean(dim=(1, 2, 3)).numpy()
    shown = np.rint((decoded.permute(0, 2, 3, 1).numpy() + 1) * 127.5).astype(np.uint8)
    pairs(data.images[::26][:48], shown[::26][:48]).save(sheet)
    sources = np.array(data.sources)
    by_source = {source: _psnr(errors[sources == source]) for source in sorted(set(data.sources))}
    return {"psnr_db": _psnr(errors), "mean_of_psnr_db": round(float((-10 * np.log10(errors)).mean()), 2), **by_source}


def _psnr(errors: np.ndarray) -> float:
    return round(float(-10 * np.log10(errors.mean())), 2)


def encoder_figures(embeds_NE: np.ndarray, data: HeldOut, names: list[str], names_ME: np.ndarray) -> dict[str, Any]:
    """Retrieval of an image's name among all names, overall and by source, and its subject group among the five."""
    right = np.array([names.index(name) for name in data.names])
    sources = np.array(data.sources)
    labels = sorted(set(data.labels))
    labels_ME = sentence_embeddings([label.replace("-", " and ") for label in labels])
    nearest = np.argmax(embeds_NE @ labels_ME.T, axis=1)
    return {
        "name": found(embeds_NE, names_ME, right),
        **{
            source: found(embeds_NE[sources == source], names_ME, right[sources == source])
            for source in sorted(set(data.sources))
        },
        "group": round(
            float(np.mean([labels[at] == label for at, label in zip(nearest, data.labels, strict=True)])), 3
        ),
    }


def captioner_figures(folder: str, data: HeldOut, sheet: Path) -> dict[str, Any]:
    """Share of captions that end with the exact name, and the sentence similarity of caption and name."""
    config = EMBEDDED.captioner.model_copy(update={"model": folder})
    texts = TransformersCaptioner(config).caption(list(data.images))
    captions_NE, names_NE = sentence_embeddings(texts), sentence_embeddings(data.names)
    captioned(data.images[::26][:48], texts[::26][:48]).save(sheet)
    exact = [text == name or text.endswith(f" {name}") for text, name in zip(texts, data.names, strict=True)]
    shuffled = np.random.default_rng(0).permutation(len(texts))
    return {
        "exact_name": round(float(np.mean(exact)), 3),
        "similarity": round(float((captions_NE * names_NE).sum(axis=1).mean()), 3),
        "similarity_shuffled": round(float((captions_NE * names_NE[shuffled]).sum(axis=1).mean()), 3),
    }


def renderer_figures(
    folder: str,
    embedder: VisionEmbedder,
    names: list[str],
    names_ME: np.ndarray,
    sheet: Path,
) -> dict[str, Any]:
    """For RENDERS names: whether the image encoder finds in the render the name that it was drawn from."""
    chosen = np.random.default_rng(0).permutation(len(names))[:RENDERS]
    config = EMBEDDED.renderer.model_copy(update={"model": folder})
    texts = [names[at] for at in chosen]
    images = DiffusersRenderer(config).render(texts, seeds=range(RENDERS))
    captioned(images[:96], texts[:96]).save(sheet)
    return found(embedder.embed_images(images), names_ME, chosen)


def evaluate(work: Path, bundled: bool = False) -> dict[str, Any]:
    """All figures of the models in the working folder, or of those that come with the package."""
    data = held_out()
    names = sorted(set(data.names))
    names_ME = sentence_embeddings(names)
    folder = work / ("evaluation-bundled" if bundled else "evaluation")
    folder.mkdir(parents=True, exist_ok=True)
    models = {
        "autoencoder": package_file("models/sticker-sd") / "vae" if bundled else work / "autoencoder" / "model",
        "encoder": package_file("models/sticker-clip") if bundled else work / "encoder" / "model",
        "captioner": package_file("models/sticker-blip") if bundled else work / "captioner" / "model",
        "renderer": package_file("models/sticker-sd") if bundled else work / "denoiser" / "model",
    }
    figures: dict[str, Any] = {}

    def keep(name: str, found: dict[str, Any]) -> None:
        figures[name] = found
        print(name, json.dumps(found), flush=True)
        (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")

    if models["autoencoder"].exists():
        keep("autoencoder", autoencoder_figures(models["autoencoder"], data, folder / "autoencoder.png"))
    if models["captioner"].exists():
        keep("captioner", captioner_figures(str(models["captioner"]), data, folder / "captioner.png"))
    if models["encoder"].exists():
        config = EMBEDDED.image_embedder.model_copy(update={"model": str(models["encoder"])})
        embedder = VisionEmbedder(config)
        embeds_NE = embedder.embed_images(list(data.images))
        keep("encoder", encoder_figures(embeds_NE, data, names, names_ME))
        if models["renderer"].exists():
            sheet = folder / "renderer.png"
            keep("renderer", renderer_figures(str(models["renderer"]), embedder, names, names_ME, sheet))
    return figures


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("--bundled", action="store_true", help="the models that come with the package")
    given = command.parse_args()
    evaluate(given.work, given.bundled)
