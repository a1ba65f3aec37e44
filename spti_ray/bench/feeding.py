"""Measures how fast embedders are fed: with renders, by way of PNG, and by shards with private JPEGs.

Engines are SIMULATED. What is around them is real: the hosts, PNG, readers, decoders and the image processor of CLIP.

This file runs against another checkout too (`other_checkout`), so it uses only what earlier builds have.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from spti_ray import types
from spti_ray.config import DataConfig, EngineConfig
from spti_ray.models.checkpoints import load_image_processor
from spti_ray.models.factory import EMBEDDED
from spti_ray.models.pixels import from_png, to_png
from spti_ray.private.decode import decode
from spti_ray.private.shard import Shard
from spti_ray.runtime.hosting import engine as hosting
from spti_ray.types import ImageArray, RenderBatch

RENDER_SIDE, PRIVATE_SIDE = 512, 256
BATCH = 16
RENDERS, RECORDS = 192, 1280
FORWARD_S = 0.002
"""Of the SIMULATED embedder, for each private image."""

_CLIP = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
    "do_rescale": True, "do_normalize": True, "do_convert_rgb": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip
"""The image processor of OpenAI's CLIP."""

SHARDS = 2
"""The default number of a run's shards."""

_DRAFT: dict[str, Any] = {"png_level": types.DRAFT_PNG_LEVEL} if hasattr(types, "DRAFT_PNG_LEVEL") else {}
"""How images are rendered that are to be voted on, where a build knows a difference."""

_LEVEL: dict[str, Any] = {"level": types.DRAFT_PNG_LEVEL} if _DRAFT else {}

_CALLS_AT_A_TIME: int = getattr(hosting, "CALLS_AT_A_TIME", 1)
"""What an embedder's actor takes at a time."""


def picture(side: int, seed: int) -> ImageArray:
    """Soft shapes, and grain on every second one: of what compresses well and of what does not."""
    random = np.random.default_rng(seed)
    few = Image.fromarray(random.integers(0, 256, (side // 16, side // 16, 3), np.uint8))
    pixels = np.asarray(few.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = random.normal(0, 6, pixels.shape).astype(np.int16) if seed % 2 else 0
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


class Pictures:
    """SIMULATED: a renderer that has its images already, and an embedder whose rows are a hash of its input."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._pictures = [picture(RENDER_SIDE, seed) for seed in range(4)]

    def identity(self) -> dict[str, str]:
        return {"kind": "pictures", "model": types.SIMULATED, "revision": "1"}

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray]:
        return [self._pictures[seed % len(self._pictures)] for seed in seeds]

    def embed_images(self, images: Sequence[ImageArray]) -> Any:
        return np.array([[image[0].sum(), image[-1].sum()] for image in images], np.float32)


class Forward:
    """SIMULATED: a vision tower that takes its time for each image, and gives back some of its input."""

    def __call__(self, pixel_values: Any) -> Any:
        time.sleep(FORWARD_S * len(pixel_values))
        return SimpleNamespace(image_embeds=pixel_values.flatten(1)[:, ::1000].clone())


def png_ms() -> float:
    """Milliseconds of a CPU for the PNG of a render that is voted on."""
    pictures = [picture(RENDER_SIDE, seed) for seed in range(4)]
    for image in pictures:
        assert (from_png(to_png(image, **_LEVEL)) == image).all()
    return round(sum(_cpu_ms(partial(to_png, image, **_LEVEL), 10) for image in pictures) / len(pictures), 3)


def stages_cpu_ms() -> dict[str, float]:
    """Milliseconds of a CPU for an image in each stage beside the engines, as `spti plan --costs` reckons with them."""
    render, record = picture(RENDER_SIDE, 1), io.BytesIO()
    Image.fromarray(picture(PRIVATE_SIDE, 1)).save(record, "JPEG", quality=90)
    draft = to_png(render, **_LEVEL)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "preprocessor_config.json").write_text(json.dumps(_CLIP))
        processor = load_image_processor(name)
    prepare = [partial(processor, [Image.fromarray(picture(side, 1))]) for side in (RENDER_SIDE, PRIVATE_SIDE)]
    stages: dict[str, Callable[[], Any]] = {
        "png": partial(to_png, render, **_LEVEL),
        "png_level_6": partial(to_png, render),
        "decode_png": partial(from_png, draft),
        "decode_jpeg": partial(decode, record.getvalue(), 2**30),
        f"prepare_{RENDER_SIDE}": prepare[0],
        f"prepare_{PRIVATE_SIDE}": prepare[1],
    }
    return {name: round(_cpu_ms(stage), 3) for name, stage in stages.items()}


def _cpu_ms(stage: Callable[[], Any], times: int = 20) -> float:
    began = time.thread_time()
    for _ in range(times):
        stage()
    return (time.thread_time() - began) / times * 1000


def renders_per_s(renders: int = RENDERS) -> tuple[float, str]:
    """Renders a second from a renderer to an embedder's input, through both hosts; and a hash of the rows."""
    settings = EngineConfig(kind=f"{_module()}:Pictures", model=types.SIMULATED, batch_size=BATCH, num_cpus=1.0)
    renderer = hosting.RendererHost("renderer", settings)
    embedder = hosting.PrivateEngineHost("image_embedder", settings)
    batches = [
        RenderBatch(("a picture",) * BATCH, tuple(range(i, i + BATCH)), **_DRAFT) for i in range(0, renders, BATCH)
    ]

    async def all_of_them() -> list[Any]:
        loop, in_flight = asyncio.get_running_loop(), asyncio.Semaphore(4)
        with ThreadPoolExecutor(_CALLS_AT_A_TIME) as calls:

            async def one(batch: RenderBatch) -> Any:
                async with in_flight:
                    pngs, _ = await renderer.run(batch)
                    return (await loop.run_in_executor(calls, embedder.run, pngs))[0]

            return await asyncio.gather(*(one(batch) for batch in batches))

    began = time.perf_counter()
    rows = asyncio.run(all_of_them())
    rate = round(renders / (time.perf_counter() - began), 2)
    renderer.close()
    embedder.close()
    return rate, hashlib.sha256(np.concatenate(rows).tobytes()).hexdigest()


def records_per_s(records: int = RECORDS) -> tuple[float, str]:
    """Private JPEGs a second that become views beside a SIMULATED embedder; and a hash of all that it was given."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_jpegs(folder / "data", records)
        (folder / "preprocessor_config.json").write_text(json.dumps(_CLIP))
        settings = EMBEDDED.image_embedder.model_copy(update={"batch_size": BATCH})
        with closing(hosting.PrivateEngineHost("image_embedder", settings)) as host:
            tower: Any = host._engine._tower
            tower._model, tower._processor = Forward(), load_image_processor(str(folder))
            turns, hashes = threading.Semaphore(_CALLS_AT_A_TIME), [hashlib.sha256() for _ in range(SHARDS)]

            def prepare(number: int) -> None:
                def embed(images: list[ImageArray]) -> Any:
                    with turns:
                        rows = host.run_private(images)[0]
                    hashes[number].update(rows.tobytes())
                    return rows

                shard = Shard(
                    DataConfig(path=str(folder / "data")),
                    shard_id=number,
                    num_shards=SHARDS,
                    label_names=(types.SINGLE_LABEL,),
                    spaces=("image",),
                    cache=folder / "views",
                    fingerprint="bench",
                    batch_size=BATCH,
                )
                shard.prepare(embed)

            began = time.perf_counter()
            with ThreadPoolExecutor(SHARDS) as shards:
                list(shards.map(prepare, range(SHARDS)))
            rate = round(records / (time.perf_counter() - began), 2)
    return rate, hashlib.sha256(b"".join(one.digest() for one in hashes)).hexdigest()


def feeding(rounds: int = 3) -> dict[str, Any]:
    """All of it, each figure the best of some rounds.

    Returns:
        Milliseconds of CPU, images a second, and hashes of what embedders were given: the same in every build.
    """
    renders, records = [renders_per_s() for _ in range(rounds)], [records_per_s() for _ in range(rounds)]
    return {
        "engines": types.SIMULATED,
        "png_cpu_ms": min(png_ms() for _ in range(rounds)),
        "renders_per_s": max(rate for rate, _ in renders),
        "records_per_s": max(rate for rate, _ in records),
        "stages_cpu_ms": stages_cpu_ms(),
        "rows_of_renders": renders[0][1],
        "rows_of_records": records[0][1],
    }


def is_figure(name: str) -> bool:
    """Whether it is one that is compared with another build's."""
    return name.endswith(("_per_s", "png_cpu_ms"))


def _write_jpegs(folder: Path, count: int) -> None:
    folder.mkdir()
    encoded: list[bytes] = []
    for seed in range(8):
        buffer = io.BytesIO()
        Image.fromarray(picture(PRIVATE_SIDE, seed)).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(encoded[number % len(encoded)])


def _module() -> str:
    return __spec__.name if __spec__ is not None else __name__


if __name__ == "__main__":
    print(json.dumps(feeding()))
