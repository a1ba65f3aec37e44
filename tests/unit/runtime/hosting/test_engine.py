"""The host of an image embedder: what is made ready beside the engine, and that the engine has one call at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.factory import FAKE
from spti_ray.models.pixels import from_png, to_png
from spti_ray.runtime.hosting.engine import PrivateEngineHost, RendererHost
from spti_ray.runtime.hosting.failures import PrivateCallFailed
from spti_ray.types import RenderBatch

SECRET = "SECRET-5d1c"


class Halves:
    """SIMULATED: an embedder whose row is an image's mean, in two halves."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.events: list[str] = []
        self.threads: set[str] = {threading.current_thread().name}
        self.preparing = threading.Event()

    def identity(self) -> dict[str, str]:
        return {"kind": "halves", "model": "SIMULATED", "revision": "1"}

    def embed_images(self, images):
        raise AssertionError("the host calls its halves")

    def prepare_images(self, images):
        if any(image.mean() == 255 for image in images):
            raise ValueError(SECRET)
        if any(image.mean() == 2 for image in images):
            self.preparing.set()
        return [float(image.mean()) for image in images]

    def embed_prepared(self, prepared):
        self.threads.add(threading.current_thread().name)
        if prepared[0] == 1:
            assert self.preparing.wait(5)  # the other call is made ready meanwhile
        self.events.append("begin")
        time.sleep(0.01)
        self.events.append("end")
        return np.array([[mean, 1.0] for mean in prepared], np.float32)


@pytest.fixture
def host():
    host = PrivateEngineHost("image_embedder", EngineConfig(kind=f"{__name__}:Halves", model="SIMULATED"))
    yield host
    host.close()


def flat(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_a_call_is_made_ready_while_the_engine_has_another_and_it_has_one_at_a_time(host):
    with ThreadPoolExecutor(4) as callers:
        public = [callers.submit(host.run, [to_png(flat(value))]) for value in (1, 2)]
        private = [callers.submit(host.run_private, [flat(value), flat(9)]) for value in (3, 4)]
        for value, call in zip((1, 2), public, strict=True):
            np.testing.assert_array_equal(call.result()[0], [[value, 1]])
        for value, call in zip((3, 4), private, strict=True):
            np.testing.assert_array_equal(call.result()[0], [[value, 1], [9, 1]])
    engine = host._engine
    assert engine.events == ["begin", "end"] * 4
    assert len(engine.threads) == 1  # also that which loaded it


def test_a_failure_while_images_are_made_ready_is_as_free_of_content_as_the_engines(host):
    with pytest.raises(PrivateCallFailed, match=r"\(ValueError\)$") as raised:
        host.run_private([flat(255)])
    assert SECRET not in str(raised.value) and raised.value.__context__ is None


def test_an_embedder_of_one_method_is_called_by_it():
    host = PrivateEngineHost("image_embedder", FAKE.image_embedder)
    images = [flat(3), flat(200)]
    np.testing.assert_array_equal(host.run([to_png(image) for image in images])[0], host.run_private(images)[0])
    host.close()


def test_a_renderers_images_are_compressed_as_asked_in_their_order():
    host = RendererHost("renderer", FAKE.renderer)
    texts, seeds = tuple(f"a red cat {i}" for i in range(9)), tuple(range(9))

    async def made(level: int) -> list[bytes]:
        return (await host.run(RenderBatch(texts, seeds, png_level=level)))[0]

    expected = host._engine.render(texts, seeds)
    for level in (0, 6):
        assert asyncio.run(made(level)) == [to_png(image, level) for image in expected]
    np.testing.assert_array_equal(from_png(asyncio.run(made(0))[4]), expected[4])
    host.close()


@pytest.mark.parametrize("make", [PrivateEngineHost, RendererHost])
def test_a_host_tells_how_its_engine_started(make):
    role = "image_embedder" if make is PrivateEngineHost else "renderer"
    host = make(role, FAKE.of(role))
    names, times = zip(*host.start_marks(), strict=True)
    assert names == ("process", "its actor", "import", "load") and list(times) == sorted(times)
    host.close()
