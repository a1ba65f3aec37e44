"""CPU work beside engines: PNGs of renders, decoding and preparing images for the embedder.

Seconds are of one core, in proportion to the pixels, as `spti bench --only feeding` measures them (`stages_cpu_ms`).
"""

from __future__ import annotations

from dataclasses import dataclass

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.models.engine_process import THREADS_BESIDE
from spti_ray.planning.costs.rates import pixels_of
from spti_ray.planning.workload import Phase
from spti_ray.types import DRAFT_PNG_LEVEL

SOURCE = (
    "spti bench --only feeding, on one core of an Intel Xeon virtual machine with Pillow 13 (preparing images: on an "
    "AMD EPYC)"
)

_PNG_S = {0: 20e-9, 1: 120e-9, 6: 200e-9}
"""Seconds a pixel by level; another level counts as the next one here below it."""
_DECODE_PNG_S = 15e-9
_READ_JPEG_S = 12e-9
_PREPARE_S, _PREPARE_EACH_S = 13e-9, 0.6e-3
"""Seconds a pixel, and for each image, to resize it to 224 pixels and normalise it."""

PRIVATE_PIXELS = 256**2
"""Assumed of a private image: nothing is read to plan."""

RENDERED_PIXELS = 512**2
"""Assumed of a render whose size the settings do not say."""


@dataclass(frozen=True)
class CpuStage:
    """Work of CPUs beside the engines of a role: so many images, and seconds of one core for all of them."""

    role: Role
    what: str
    images: int
    cpu_s: float


def cpu_stages(config: Config, engines: EnginesConfig, phase: Phase, private: int) -> tuple[CpuStage, ...]:
    """The stages of a phase that have work.

    Args:
        config: The run's configuration.
        engines: Its engines.
        phase: A part of the run.
        private: Private images that shards show the image embedder in it.
    """
    pixels = pixels_of(engines.renderer) or RENDERED_PIXELS
    rendered, embedded = phase.items("renderer"), phase.items("image_embedder")
    level = config.release.png_level if phase.name == "release" else DRAFT_PNG_LEVEL
    png_s = _PNG_S[max(known for known in _PNG_S if known <= level)]
    found = (
        CpuStage("renderer", f"PNG of renders, level {level}", rendered, rendered * pixels * png_s),
        CpuStage("image_embedder", "decoding renders", embedded, embedded * pixels * _DECODE_PNG_S),
        CpuStage("image_embedder", "preparing renders", embedded, embedded * _prepare_s(pixels)),
        CpuStage("image_embedder", "reading private images", private, private * PRIVATE_PIXELS * _READ_JPEG_S),
        CpuStage("image_embedder", "preparing private images", private, private * _prepare_s(PRIVATE_PIXELS)),
    )
    return tuple(stage for stage in found if stage.images)


def least_wall_s(stages: tuple[CpuStage, ...], role: Role, engines: EnginesConfig, replicas: int) -> float:
    """The least seconds that these stages take beside so many engines of a role, each with its threads.

    A shard reads on cores of its own.
    """
    beside = sum(stage.cpu_s for stage in stages if stage.role == role and not stage.what.startswith("reading"))
    # Not by the cores of the machine that plans: see `models.engine_process.threads_beside`.
    return beside / (replicas * max(THREADS_BESIDE, engines.of(role).threads or 0))


def _prepare_s(pixels: int) -> float:
    return _PREPARE_EACH_S + pixels * _PREPARE_S
