"""Deterministic fake engines without weights, for tests and for a dry run of a whole job. All results are SIMULATED.

They share a small world of coloured things, so that a run with them behaves like a real one: the writer changes texts a
little, the renderer draws their words, and the embedders give similar texts and images similar embeddings.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from spti_ray.config import EngineConfig
from spti_ray.models.options import FakeOptions
from spti_ray.types import SIMULATED, Completions, FloatArray, ImageArray, WriteRequest

COLOURS = {
    "red": (214, 40, 40),
    "orange": (245, 130, 32),
    "yellow": (250, 210, 50),
    "green": (60, 160, 70),
    "blue": (40, 100, 210),
    "purple": (130, 60, 170),
    "pink": (240, 130, 180),
    "brown": (130, 85, 50),
    "gray": (130, 130, 130),
    "black": (25, 25, 25),
}
NOUNS = {
    "animal": ("cat", "dog", "fish", "bird", "turtle", "rabbit"),
    "food": ("apple", "bread", "cake", "grape", "cheese", "carrot"),
    "travel": ("car", "boat", "train", "house", "bridge", "rocket"),
    "activity": ("ball", "drum", "guitar", "medal", "kite", "racket"),
    "face": ("smile", "wink", "frown", "grin", "robot", "ghost"),
}
SIZES = ("small", "big", "round", "shiny", "cute")
GROUP_OF = {noun: group for group, nouns in NOUNS.items() for noun in nouns}
IMAGE_SIZE = 64
IMPERFECT_SHARE = 0.08
"""Share of the fake writer's answers that are imperfect, as real ones are: in quotes, after a preamble, or empty."""


class _Fake:
    """What all fake engines have: their settings, an identity, and a delay."""

    def __init__(self, config: EngineConfig):
        self.config = config
        self._delay_s = FakeOptions.model_validate(config.options).delay_s

    def identity(self) -> dict[str, str]:
        return {"kind": self.config.kind, "model": SIMULATED, "revision": "1"}

    def _wait(self) -> None:
        if self._delay_s:
            time.sleep(self._delay_s)


class FakeWriter(_Fake):
    """Answers the few-shot prompts of `public/prompts.py` by their last lines; other prompts get a new text."""

    output_tokens = 0

    async def sleep(self) -> None:
        pass

    async def wake(self) -> None:
        pass

    async def write(self, requests: Sequence[WriteRequest]) -> list[Completions]:
        await asyncio.sleep(self._delay_s)
        answers: list[Completions] = []
        for request in requests:
            texts = tuple(_answer(request, index) for index in range(request.n))
            tokens = sum(len(text.split()) for text in texts)
            self.output_tokens += tokens
            answers.append(Completions(texts, tokens))
        return answers

    def close(self) -> None:
        pass


def _answer(request: WriteRequest, index: int) -> str:
    rng = random.Random(f"{request.seed + index}\n{request.prompt}")
    lines = [line.strip() for line in request.prompt.splitlines() if line.strip()] or [""]
    parent = next((line for line in lines[-2:] if line.startswith(("Text: ", "Blanks: "))), None)
    if parent is None:
        text = _new_text(lines[-1], rng)
    else:
        kind, _, body = parent.partition(": ")
        text = _filled(body, rng) if kind == "Blanks" else _varied(body, rng)
    if rng.random() < IMPERFECT_SHARE:
        text = rng.choice((f'"{text}"', f"Sure, here is the text: {text}", f"- {text}.", ""))
    return " " + text


def _new_text(hint: str, rng: random.Random) -> str:
    """A new text with the colours, nouns or groups that the hint (the prompt's last line) names."""
    hints = _words(hint)
    colour = next((word for word in hints if word in COLOURS), None) or rng.choice(list(COLOURS))
    group = next((group for group in NOUNS if any(word.startswith(group) for word in hints)), None)
    noun = next((word for word in hints if word in GROUP_OF), None) or rng.choice(NOUNS[group or rng.choice([*NOUNS])])
    size = f"{rng.choice(SIZES)} " if rng.random() < 0.3 else ""
    return f"a {size}{colour} {noun}"


def _varied(text: str, rng: random.Random) -> str:
    """The text with one known word replaced: a noun mostly by one of its group, a colour or a size by any other one."""
    words = text.split()
    known = [i for i, word in enumerate(words) if _alternatives(word.lower())]
    if not known:
        return _new_text(text, rng)
    i = rng.choice(known)
    words[i] = rng.choice(_alternatives(words[i].lower(), wide=rng.random() < 0.25))
    return " ".join(words)


def _alternatives(word: str, wide: bool = False) -> list[str]:
    if word in GROUP_OF:
        return [noun for noun in GROUP_OF if noun != word and (wide or GROUP_OF[noun] == GROUP_OF[word])]
    for vocabulary in (tuple(COLOURS), SIZES):
        if word in vocabulary:
            return [other for other in vocabulary if other != word]
    return []


def _filled(text: str, rng: random.Random) -> str:
    """Blanks become colours or sizes; the last word becomes a noun unless the text has one."""
    words = text.split()
    has_noun = any(word.lower() in GROUP_OF for word in words)
    for i, word in enumerate(words):
        if word.strip(".,") == "_":
            is_noun = i == len(words) - 1 and not has_noun
            words[i] = rng.choice([*GROUP_OF] if is_noun else [*COLOURS, *SIZES])
    return " ".join(words)


class FakeRenderer(_Fake):
    """Draws a text's last noun as a shape in the text's first colour; the noun's group decides the kind of shape."""

    def sleep(self) -> None:
        pass

    def wake(self) -> None:
        pass

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray]:
        if len(texts) != len(seeds):
            raise ValueError(f"{len(texts)} texts but {len(seeds)} seeds")
        self._wait()
        return [_draw(text, seed) for text, seed in zip(texts, seeds, strict=True)]

    def vary(
        self, images: Sequence[ImageArray], texts: Sequence[str], seeds: Sequence[int], strength: float
    ) -> list[ImageArray]:
        """Mix each image with one of the same shape in another colour; `strength` is the share of the latter."""
        self._wait()
        return [
            _mixed(image, _draw(_recoloured(text, seed), seed), strength)
            for image, text, seed in zip(images, texts, seeds, strict=True)
        ]


def _recoloured(text: str, seed: int) -> str:
    words = [word for word in text.split() if word.lower() not in COLOURS]
    return " ".join([random.Random(seed).choice(list(COLOURS)), *words])


def _mixed(image: ImageArray, other: ImageArray, strength: float) -> ImageArray:
    return np.rint((1.0 - strength) * image + strength * other.astype(np.float32)).astype(np.uint8)


def _draw(text: str, seed: int) -> ImageArray:
    words = _words(text)
    colour = next((COLOURS[word] for word in words if word in COLOURS), (170, 170, 170))
    noun = next((word for word in reversed(words) if word in GROUP_OF), words[-1] if words else "")
    group = GROUP_OF.get(noun, list(NOUNS)[_hash(noun) % len(NOUNS)])
    own, jitter = random.Random(noun), random.Random(f"{seed}\n{text}")
    half_w, half_h = own.randint(12, 28), own.randint(12, 28)
    x, y = (IMAGE_SIZE // 2 + jitter.randint(-2, 2) for _ in range(2))
    box = (x - half_w, y - half_h, x + half_w, y + half_h)
    image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), "white")
    pen = ImageDraw.Draw(image)
    if group == "animal":
        pen.polygon([(x, box[1]), (box[2], box[3]), (box[0], box[3])], fill=colour)
    elif group == "food":
        pen.ellipse(box, fill=colour)
    elif group == "travel":
        pen.rectangle(box, fill=colour)
    elif group == "activity":
        pen.rectangle((x - 5, box[1], x + 5, box[3]), fill=colour)
        pen.rectangle((box[0], y - 5, box[2], y + 5), fill=colour)
    else:
        pen.ellipse(box, outline=colour, width=6)
    return np.asarray(image, dtype=np.uint8)


class FakeCaptioner(_Fake):
    """Names the colour nearest to what is not white, and a noun chosen by how much of the image that is."""

    def caption(self, images: Sequence[ImageArray]) -> list[str]:
        self._wait()
        return [_describe(image) for image in images]


def _describe(image: ImageArray) -> str:
    pixels_PC = image.reshape(-1, 3)
    drawn_PC = pixels_PC[pixels_PC.min(axis=1) < 230]
    if not len(drawn_PC):
        return "a white ghost"
    median_C = np.median(drawn_PC, axis=0)
    colour = min(COLOURS, key=lambda name: float(((median_C - np.asarray(COLOURS[name])) ** 2).sum()))
    nouns = list(GROUP_OF)
    return f"a {colour} {nouns[min(len(nouns) - 1, len(drawn_PC) * len(nouns) // len(pixels_PC))]}"


class FakeImageEmbedder(_Fake):
    """Embeds an image as a fixed random projection of its 8 x 8 thumbnail."""

    def embed_images(self, images: Sequence[ImageArray]) -> FloatArray:
        self._wait()
        rows = [(1.0 - _thumbnail(image)).reshape(-1) @ _PROJECTION for image in images]
        return _normalised(np.asarray(rows, dtype=np.float32).reshape(len(rows), _PROJECTION.shape[1]))


class FakeTextEmbedder(_Fake):
    """Embeds a text as a hashed bag of words, where nouns of one group share a dimension."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        self._wait()
        rows_BE = np.zeros((len(texts), 128), np.float32)
        for row_E, text in zip(rows_BE, texts, strict=True):
            for word in _words(text):
                row_E[_hash(word) % 128] += 1.0
                if word in GROUP_OF:
                    row_E[_hash(GROUP_OF[word]) % 128] += 1.0
        return _normalised(rows_BE)


_PROJECTION = np.random.default_rng(0).standard_normal((192, 64)).astype(np.float32)


def _thumbnail(image: ImageArray) -> FloatArray:
    return np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX), dtype=np.float32) / np.float32(255)


def _normalised(rows_BE: FloatArray) -> FloatArray:
    """Rows of length 1; those of empty texts and white images become a fixed unit vector."""
    lengths_B1 = np.linalg.norm(rows_BE, axis=1, keepdims=True)
    fallback_E = np.eye(1, rows_BE.shape[1], dtype=np.float32)
    return np.where(lengths_B1 > 1e-6, rows_BE / np.maximum(lengths_B1, 1e-6), fallback_E).astype(np.float32)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _hash(word: str) -> int:
    """A hash that is the same in all processes, unlike Python's hash() of strings."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
