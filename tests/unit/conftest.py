"""Engines in this process, over the fakes: what pools do with actors, without a pool."""

import asyncio
from itertools import islice
from typing import Any

import pytest

from spti_ray.config import Config, EngineConfig
from spti_ray.models import fakes
from spti_ray.models.pixels import from_png, to_png
from spti_ray.models.render_calls import render_call
from spti_ray.public.render_jobs import batches_of, render_batch
from spti_ray.types import Completions

BASE = {
    "data": {"path": "bundled:stickers"},
    "dataset": {"id": "toys"},
    "privacy": {"epsilon": 2.0, "delta": 1e-5},
    "evolution": {"generations": 2, "candidates": 12},
    "prompts": {
        "domain": "toys",
        "attributes": {"subject": ["cat", "car", "apple", "kite", "train"], "color": ["red", "blue", "green", "pink"]},
        "examples": ["a brown dog", "a big red ball"],
        "rephrase_examples": [{"text": "a brown dog", "new": "a black dog"}],
        "fill_examples": [{"blanks": "a _ dog", "filled": "a small dog"}],
    },
    "release": {"images": 6},
    "runtime": {"engines": "fake"},
}


def config_with(**changes: Any) -> Config:
    """A small valid configuration; a change is named `section__key` (or `key` at the top) and replaces that key."""
    raw: dict[str, Any] = {name: dict(section) for name, section in BASE.items()}
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            raw.setdefault(section, {})[key] = value
        else:
            raw[section] = value
    return Config.model_validate(raw)


def _batches(items, size):
    while batch := list(islice(items, size)):
        yield batch


class LocalEngines:
    """`public.engines.Engines` in one process: lazy streams, in order, in batches of `batch_size`.

    `answer(request)` replaces the fake writer's texts; `unrenderable(job)` makes a render fail. What every engine was
    given is kept, in order.
    """

    def __init__(self, batch_size=4, answer=None, unrenderable=lambda job: False):
        self._batch_size = batch_size
        self._answer = answer
        self._unrenderable = unrenderable
        self._writer = fakes.FakeWriter(EngineConfig(kind="fake-writer"))
        self._renderer = fakes.FakeRenderer(EngineConfig(kind="fake-renderer"))
        self._image_embedder = fakes.FakeImageEmbedder(EngineConfig(kind="fake-image-embedder"))
        self._text_embedder = fakes.FakeTextEmbedder(EngineConfig(kind="fake-text-embedder"))
        self.requests, self.render_jobs, self.images, self.texts = [], [], [], []

    def write(self, requests):
        return self._stream(requests, self.requests, self._write)

    def render(self, jobs):
        return self._stream(jobs, self.render_jobs, self._render, batches_of)

    def embed_images(self, images):
        return self._stream(images, self.images, self._embed_images)

    def embed_texts(self, texts):
        return self._stream(texts, self.texts, self._text_embedder.embed_texts)

    def _stream(self, items, kept, work, cut=_batches):
        for batch in cut(iter(items), self._batch_size):
            kept += batch
            yield from work(batch)

    def _write(self, batch):
        if self._answer is None:
            return asyncio.run(self._writer.write(batch))
        answers = [self._answer(request) for request in batch]
        return [answer if answer is None else Completions((answer,)) for answer in answers]

    def _render(self, batch):
        method, arguments = render_call(render_batch(batch))
        images = getattr(self._renderer, method)(*arguments)
        return [None if self._unrenderable(job) else to_png(image) for job, image in zip(batch, images, strict=True)]

    def _embed_images(self, batch):
        return self._image_embedder.embed_images([from_png(png) for png in batch])


@pytest.fixture
def make_config():
    return config_with


@pytest.fixture
def local_engines():
    return LocalEngines
