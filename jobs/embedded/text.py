"""Texts: captions made of what is known of an icon, and sentence embeddings by the bundled MiniLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from jobs.embedded.data import COLOURS, Data
from spti_ray.models.embedders import SentenceEmbedder
from spti_ray.models.factory import EMBEDDED

NOUNS = {
    "smileys-emotion": "face",
    "people-body": "person",
    "animals-nature": "animal or plant",
    "food-drink": "food",
    "travel-places": "place or vehicle",
    "activities": "activity",
    "objects": "object",
    "symbols": "symbol",
}
"""What one calls a thing of a subject group."""


def captions(data: Data, icon: int) -> list[str]:
    """Every caption of an icon, from the bare name to name, colour, keywords and kind. The first is the name."""
    name, colour, group = data.names[icon], data.colours[icon], data.groups[icon]
    kind = data.subgroups[icon].replace("-", " ")
    keywords = [word for word in data.keywords[icon] if word != name]
    found = [
        name,
        f"{_a(name)} {name}",
        f"an icon of {_a(name)} {name}",
        f"an emoji of {_a(name)} {name}",
        f"a sticker of {_a(name)} {name}",
        coloured(data, icon),
        f"{_a(colour)} {colour} icon of {_a(name)} {name}",
        f"{name}, {kind}",
        f"{_a(name)} {name}, {_a(NOUNS[group])} {NOUNS[group]}",
    ]
    if keywords:
        found += [f"{name}, {', '.join(keywords[:3])}", f"{_a(name)} {name} with {keywords[len(keywords) // 2]}"]
    return found


def coloured(data: Data, icon: int) -> str:
    """The name with its colour, such as "a red apple"."""
    name, colour = data.names[icon], data.colours[icon]
    phrase = name if any(word in COLOURS for word in name.split()) else f"{colour} {name}"
    return f"{_a(phrase)} {phrase}"


def _a(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeiou" else "a"


def sentence_embeddings(texts: Sequence[str]) -> np.ndarray:
    """[texts, 384] float32, L2-normalised, as a run's text embedder computes them."""
    return SentenceEmbedder(EMBEDDED.text_embedder).embed_texts(texts)


def one_of_each(begins: torch.Tensor, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """For each of `rows`, a random place in its list: lists lie one after the other, and row r's from begins[r]."""
    start, end = begins[rows], begins[rows + 1]
    return start + (torch.rand(len(rows), generator=generator) * (end - start)).long()


class Texts:
    """Sentence embeddings, kept in `texts.npz` of the working folder: 80,000 captions take MiniLM four minutes."""

    def __init__(self, work: Path):
        self._file = work / "texts.npz"
        self._rows: dict[str, int] = {}
        self._embedded = np.zeros((0, 384), np.float16)
        if self._file.exists():
            with np.load(self._file) as kept:
                self._rows = {str(text): row for row, text in enumerate(kept["texts"])}
                self._embedded = kept["embedded"]

    def embeddings(self, lists: Sequence[Sequence[str]]) -> tuple[torch.Tensor, torch.Tensor]:
        """(where each list begins and the last ends; [texts, 384] float32, L2-normalised, of all lists' texts)."""
        flat = [text for texts in lists for text in texts]
        new = [text for text in dict.fromkeys(flat) if text not in self._rows]
        if new:
            found = sentence_embeddings(new).astype(np.float16)
            self._rows |= {text: len(self._rows) + row for row, text in enumerate(new)}
            self._embedded = np.concatenate([self._embedded, found])
            partial = self._file.with_suffix(".partial.npz")
            np.savez(partial, texts=np.array(list(self._rows)), embedded=self._embedded)
            partial.replace(self._file)
        begins = torch.tensor([0] + [len(texts) for texts in lists]).cumsum(0)
        rows = np.array([self._rows[text] for text in flat])
        return begins, torch.from_numpy(self._embedded[rows].astype(np.float32))
