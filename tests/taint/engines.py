"""Engines of the taint test: the package's fakes, which note down each request, read captions off the pixels, and
print, log and raise what they were given, as a careless library would.

Options: `notes`, a folder for the requests; `chatty`: they print and log; `broken`: they fail on any request;
`strange`: the text embedder returns what can't be sent. On private content they fail as `faults` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from spti_ray.config import EngineConfig
from spti_ray.models import fakes
from spti_ray.private.output_suppression import suppressed_output
from spti_ray.runtime.hosting import engine as hosting
from tests.taint import faults
from tests.taint.scan import CORE

_MARK = CORE.encode()


def read_off(image: Any) -> str:
    """The canary that the pixels of an HWC image spell, or empty."""
    raw = image.tobytes()
    at = raw.find(_MARK)
    return "" if at < 0 else raw[at:].split(b"\0")[0].decode()


_private = ContextVar("private", default=False)
"""Whether the call that is under way is a shard's, also in the thread that has the engine."""


@contextmanager
def _marked() -> Iterator[None]:
    token = _private.set(True)
    try:
        with suppressed_output():
            yield
    finally:
        _private.reset(token)


hosting.suppressed_output = _marked  # the host suppresses output in private calls, and in no other


class _Noting:
    """What all of these engines do with a request before they answer it."""

    config: EngineConfig

    def _note(self, role: str, items: Sequence[Any]) -> None:
        shown = [read_off(item) or "an image" if hasattr(item, "tobytes") else repr(item) for item in items]
        side = "private" if _private.get() else "public"
        with open(Path(self.config.options["notes"]) / f"{side}-{role}.txt", "a") as file:
            file.write("\n".join(shown) + "\n")
        text = f"{role} was asked for {shown}"
        if self.config.options.get("chatty"):
            faults.shout(text)
        if self.config.options.get("broken"):
            raise ValueError(text)
        if any(CORE in line for line in shown):
            faults.strike(role, shown)


def _options_off(config: EngineConfig) -> EngineConfig:
    return config.model_copy(update={"options": {}})


class Writer(_Noting, fakes.FakeWriter):
    def __init__(self, config: EngineConfig):
        super().__init__(_options_off(config))
        self.config = config

    async def write(self, requests):
        self._note("writer", requests)
        return await super().write(requests)


class Renderer(_Noting, fakes.FakeRenderer):
    def __init__(self, config: EngineConfig):
        super().__init__(_options_off(config))
        self.config = config

    def render(self, texts, seeds):
        self._note("renderer", texts)
        return super().render(texts, seeds)


class Captioner(_Noting, fakes.FakeCaptioner):
    def __init__(self, config: EngineConfig):
        super().__init__(_options_off(config))
        self.config = config

    def caption(self, images):
        self._note("captioner", images)
        return [f"{text} {read_off(image)}" for text, image in zip(super().caption(images), images, strict=True)]


class ImageEmbedder(_Noting, fakes.FakeImageEmbedder):
    def __init__(self, config: EngineConfig):
        super().__init__(_options_off(config))
        self.config = config

    def embed_images(self, images):
        self._note("image_embedder", images)
        return super().embed_images(images)


class TextEmbedder(_Noting, fakes.FakeTextEmbedder):
    def __init__(self, config: EngineConfig):
        super().__init__(_options_off(config))
        self.config = config

    def embed_texts(self, texts):
        self._note("text_embedder", texts)
        if self.config.options.get("strange"):
            return (text for text in texts)
        return super().embed_texts(texts)
