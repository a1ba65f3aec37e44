"""The image encoder: a small vision transformer that looks where MiniLM reads.

    python -m jobs.embedded.encoder --work runs/embedded

An image's embedding is pulled to the sentence embedding of its name, among all names at once, and to that of a random
caption among the batch's. Half of the patches are left out in training (Li et al. 2023, arXiv 2212.00794): twice the
images per second, and a model that does not hang on one detail.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from jobs.embedded.augment import view
from jobs.embedded.command import parser
from jobs.embedded.data import Data, load
from jobs.embedded.drawings import Drawings, some_patches
from jobs.embedded.loop import Recipe, train
from jobs.embedded.saving import finished, image_processor, save
from jobs.embedded.text import Texts, captions, one_of_each

RECIPE = Recipe(steps=4500, batch=192, rate=1.3e-3, warmup=300, decay=0.05, average=0.9995, seed=1)
KEPT = 0.5
"""Part of the patches that the model sees in training."""

CONFIG = CLIPVisionConfig(
    hidden_size=256,
    intermediate_size=1024,
    num_hidden_layers=6,
    num_attention_heads=4,
    image_size=64,
    patch_size=8,
    projection_dim=384,
    hidden_act="gelu",
)


class Training(nn.Module):
    """The encoder and the temperatures of its two losses, which are not kept."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.encoder = CLIPVisionModelWithProjection(config)
        self.log_scales = nn.Parameter(torch.tensor([3.0, 3.0]))

    def embed(self, images_BCHW: torch.Tensor, kept: float, generator: torch.Generator) -> torch.Tensor:
        """`image_embeds` as the encoder computes them, but from a random part of the patches; [B, E], normalised."""
        vision = self.encoder.vision_model
        tokens = some_patches(vision.embeddings(images_BCHW), kept, generator)
        states = vision.encoder(inputs_embeds=vision.pre_layrnorm(tokens)).last_hidden_state
        embeds_BE = self.encoder.visual_projection(vision.post_layernorm(states[:, 0]))
        return functional.normalize(embeds_BE.float(), dim=-1)


class Captions:
    """Sentence embeddings of every caption of every icon; those of an icon begin at its `begins`."""

    def __init__(self, data: Data, texts: Texts):
        each = [captions(data, icon)[1:] for icon in range(len(data.names))]
        self.begins, self.embedded_CE = texts.embeddings(each)

    def draw(self, icons: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One random caption per icon, [B, E]."""
        return self.embedded_CE[one_of_each(self.begins, icons, generator)]


def make(work: Path, recipe: Recipe = RECIPE, config: CLIPVisionConfig = CONFIG) -> None:
    """Train and save as `encoder/model` in the working folder; nothing if it is there."""
    folder = work / "encoder"
    if finished(folder / "model"):
        return
    data, texts = load(work), Texts(work)
    drawings, sentences = Drawings(data, texts), Captions(data, texts)
    torch.manual_seed(recipe.seed)
    model = Training(config)

    def loss_of(generator: torch.Generator, step: int) -> torch.Tensor:
        icons, drawn = drawings.draw(recipe.batch, generator)
        # The last tenth sees whole images, as the finished encoder will.
        kept = KEPT if step < 0.9 * recipe.steps else 1.0
        embeds_BE = model.embed(view(drawn, generator), kept, generator)
        scales = model.log_scales.clamp(max=4.6).exp()
        logits_BB = scales[1] * embeds_BE @ sentences.draw(icons, generator).T
        names = drawings.name_of[icons]
        own = torch.arange(len(icons))
        twins = (names[:, None] == names[None, :]) & (own[:, None] != own[None, :])
        logits_BB = logits_BB.masked_fill(twins, -1e4)
        by_caption = functional.cross_entropy(logits_BB, own) + functional.cross_entropy(logits_BB.T, own)
        return drawings.naming_loss(embeds_BE, icons, scales[0]) + 0.25 * by_caption

    encoder = train(folder, model, recipe, loss_of).encoder

    def write(partial: Path) -> None:
        encoder.to(torch.float16).save_pretrained(partial)
        image_processor(CLIPImageProcessor).save_pretrained(partial)

    save(folder / "model", write)


if __name__ == "__main__":
    make(parser(__doc__).parse_args().work)
