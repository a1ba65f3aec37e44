"""What the models that read images learn from: drawings in any style, and the meaning of their names."""

from __future__ import annotations

import torch
from torch.nn import functional

from jobs.embedded.data import Data
from jobs.embedded.text import Texts

NEARBY = 0.15
"""Part of the target that goes to other names, by how near in meaning they are."""


class Drawings:
    """Batches of drawings. Names are numbered in alphabetical order; `names_NE` are their sentence embeddings."""

    def __init__(self, data: Data, texts: Texts):
        self.pixels = torch.from_numpy(data.pixels.copy())
        self.distinct = sorted(set(data.names))
        rows = {name: row for row, name in enumerate(self.distinct)}
        self.name_of = torch.tensor([rows[name] for name in data.names])
        self.names_NE = texts.embeddings([self.distinct])[1]
        near = (self.names_NE @ self.names_NE.T - 2 * torch.eye(len(self.distinct))) * 20
        self.targets_NN = (1 - NEARBY) * torch.eye(len(self.distinct)) + NEARBY * near.softmax(dim=1)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(icons [B], uint8 drawings [B, H, W, 3]); the vendor's own style as often as all others together."""
        icons = torch.randint(len(self.name_of), (batch,), generator=generator)
        styles = torch.randint(self.pixels.shape[1], (batch,), generator=generator)
        styles[torch.rand(batch, generator=generator) < 0.4] = 0
        return icons, self.pixels[icons, styles]

    def naming_loss(self, embeds_BE: torch.Tensor, icons: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Cross entropy of normalised embeddings against all names, those of like meaning counting a little."""
        return functional.cross_entropy(scale * embeds_BE @ self.names_NE.T, self.targets_NN[self.name_of[icons]])


def some_patches(tokens_BLD: torch.Tensor, kept: float, generator: torch.Generator) -> torch.Tensor:
    """The first token (the class token) and a random part of the others, of each image its own."""
    if kept >= 1:
        return tokens_BLD
    batch, length, width = tokens_BLD.shape
    order = torch.rand((batch, length - 1), generator=generator).argsort(dim=1)[:, : round(kept * (length - 1))]
    patches = tokens_BLD[:, 1:].gather(1, order[..., None].expand(-1, -1, width))
    return torch.cat([tokens_BLD[:, :1], patches], dim=1)
