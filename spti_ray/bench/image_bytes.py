"""Measures what images of real sizes cost the driver's thread: rendered, kept, stored for the release, and embedded.

This file runs against another checkout too (`other_checkout`), so it uses only what earlier builds have: it is copied
beside that checkout and run there as a module of its own, by `python -m image_bytes`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spti_ray.bench.pools import engines_of, engines_on_ray, pool_of
from spti_ray.bench.simulated_clusters import many_actors
from spti_ray.config import EngineConfig, RuntimeConfig
from spti_ray.public.engines import RenderJob
from spti_ray.public.render_store import RenderStore
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.events import Act, Events, Finished, Up
from spti_ray.runtime.scheduling.result_cache import ResultCache
from spti_ray.types import ImageArray, RenderBatch, RenderedImage

IMAGES = 16
"""In a batch."""

SIZES = {"400KB": 400_000, "1.5MB": 1_500_000}
"""Bytes of an image, of about 1024 and 2048 pixels a side."""

UNITS = 40
"""Batches that are measured, after a quarter of them to warm up."""


class NoiseImages:
    """SIMULATED: a renderer of images with `options.image_bytes`, always the same, and an embedder of them."""

    def __init__(self, config: EngineConfig) -> None:
        side = round((float(config.options["image_bytes"]) / 3) ** 0.5)
        # Noise does not compress: a PNG of it is as large as its pixels.
        self._image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)

    def identity(self) -> dict[str, str]:
        return {"kind": "noise-images", "model": "SIMULATED", "revision": "1"}

    def render(self, texts: Sequence[str], seeds: Sequence[int] = ()) -> list[ImageArray]:
        return [self._image] * len(texts)

    def embed_images(self, images: Sequence[ImageArray]) -> Any:
        return np.zeros((len(images), 8), np.float32)


class AtOnce(Events):
    """SIMULATED engines in this process that have their results at once: what is left is the driver's own work."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__()
        self._png = bytes(num_bytes)
        self._came: list[Act] = []

    def now(self) -> float:
        return time.monotonic()

    def call(self, actor: Any, arguments: tuple[Any, ...], done: Callable[..., None]) -> None:
        (batch,) = arguments
        result = [self._png if isinstance(batch, RenderBatch) else np.zeros(8, np.float32) for _ in range(len(batch))]
        self._came.append(lambda: done(Finished(result, 0.0)))

    def ready(self, actor: Any, done: Callable[..., None]) -> None:
        self._came.append(lambda: done(Up()))

    def identity(self, actor: Any, done: Callable[..., None]) -> None:
        self._came.append(lambda: done(Finished({}, 0.0)))

    def wake(self, actor: Any, done: Callable[..., None]) -> None:
        raise NotImplementedError

    def sleep(self, actor: Any, done: Callable[..., None]) -> None:
        raise NotImplementedError

    def kill(self, actor: Any, for_good: bool) -> None:
        raise NotImplementedError

    def _next(self, until: float | None) -> bool:
        came, self._came = self._came, []
        for act in came:
            act()
        return bool(came)


def thread_ms(num_bytes: int, kept: bool, events: Events, actors: dict[str, list[Any]], units: int = UNITS) -> float:
    """Milliseconds of the driver's thread (CPU time) for a batch that is rendered, stored and embedded.

    Args:
        num_bytes: of an image.
        kept: whether the batch is kept for a later attempt, and its images stored for the release, as in a run.
        events: of the engines.
        actors: renderers and image embedders.
        units: batches that are measured.
    """
    settings = {role: engine(num_bytes) for role in ("renderer", "image_embedder")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = ResultCache(folder / "units", "bench")
        store = RenderStore(folder)
        more: dict[str, Any] = {"cache": partial(cache.entry, "renderer")} if kept else {}
        pools = {
            "renderer": pool_of("renderer", actors["renderer"], events, **more),
            "image_embedder": pool_of("image_embedder", actors["image_embedder"], events),
        }
        streams = PooledEngines(pools, engines_of(settings))  # type: ignore[arg-type] roles

        def images(first: int, count: int) -> Iterator[Any]:
            jobs = (RenderJob(f"a picture of number {number}", number) for number in range(first, first + count))
            for number, image in enumerate(streams.render(jobs), first):
                if kept and image is not None:
                    store[str(number)] = RenderedImage(str(number), 0, number, image)
                yield image

        warm = units // 4 * IMAGES
        assert len(list(streams.embed_images(images(0, warm)))) == warm
        began = time.thread_time()
        assert len(list(streams.embed_images(images(warm, units * IMAGES)))) == units * IMAGES
        took = time.thread_time() - began
        cache.close()
    return round(took / units * 1000, 4)


def engine(num_bytes: int) -> EngineConfig:
    """The settings of an engine of these images, for either role."""
    module = __spec__.name if __spec__ is not None else __name__
    return EngineConfig(
        kind=f"{module}:NoiseImages",
        model="SIMULATED",
        batch_size=IMAGES,
        num_cpus=0.01,
        threads=1,
        options={"image_bytes": num_bytes},
    )


def image_bytes(
    on_ray: bool = True,
    runtime: RuntimeConfig | None = None,
    units: int = UNITS,
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, Any]:
    """The driver's thread for a batch of each size, and what it would leave of many SIMULATED engines.

    Args:
        on_ray: Measure with Ray actors too, where the calls themselves and the references cost something.
        runtime: Where Ray is.
        units: Batches that are measured.
        told: Is told of each measurement.
    """
    found: dict[str, Any] = {"engines": "SIMULATED", "images": IMAGES}
    num = 2 * len(SIZES)
    for name, num_bytes in SIZES.items():
        for kept in (True, False):
            key = f"{name}_{'kept' if kept else 'not_kept'}"
            told(key.replace("_", ", ", 1).replace("_", " "), sum("at_once" in done for done in found), num)
            at_once: dict[str, list[Any]] = {"renderer": list(range(4)), "image_embedder": list(range(4, 8))}
            found[f"at_once_{key}_ms"] = thread_ms(num_bytes, kept, AtOnce(num_bytes), at_once, units)
            if on_ray:
                with engines_on_ray(
                    {"renderer": engine(num_bytes), "image_embedder": engine(num_bytes)}, runtime
                ) as real:
                    actors: dict[str, list[Any]] = {str(role): of_role for role, of_role in real.items()}
                    found[f"ray_{key}_ms"] = thread_ms(num_bytes, kept, RayEvents(), actors, units)
    unit_s = found.get("ray_400KB_kept_ms", found["at_once_400KB_kept_ms"]) / 1000
    found["many_actors"] = many_actors(unit_s, 1000, (3,))
    return found


def is_figure(name: str) -> bool:
    """Whether it is one that is compared with another build's."""
    return name.endswith("_ms")


if __name__ == "__main__":
    print(json.dumps(image_bytes(on_ray="--without-ray" not in sys.argv, units=int(sys.argv[1]))))
