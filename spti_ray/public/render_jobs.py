"""What defines each image: its text, its seed, and for a variation of an image that image and how far from it.

SPTI renders texts. Private Evolution on images (`method: pe-image`, arXiv 2305.15560) renders generation 0 only: later
candidates are variations of their parents' images, ever nearer to them (`evolution.image_variation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice

from spti_ray.config import Config
from spti_ray.errors import NothingMade
from spti_ray.io.images import read_png
from spti_ray.public.engines import Engines, RenderJob
from spti_ray.types import DRAFT_PNG_LEVEL, Candidate, RenderBatch, RenderedImage, derive_seed


def render_seed(run_seed: int, candidate_id: str, variant: int) -> int:
    """The seed of one image; the same in voting and release, so that a voted render is released as it was."""
    return derive_seed(run_seed, candidate_id, variant, "image")


def check_varies(engines: Engines, strength: float) -> None:
    """Render an image and vary it, before anything is charged.

    Raises:
        NothingMade: the renderer can't vary.
    """
    plain = RenderJob("an image", 0)
    for png in list(engines.render([plain])):
        varied = [] if png is None else engines.render([RenderJob("an image", 0, bytes(read_png(png)), strength)])
        if not any(image is not None for image in list(varied)):
            raise NothingMade("the renderer can't vary an image, which method: pe-image needs; see internal/driver.log")


def batches_of(jobs: Iterator[RenderJob], size: int) -> Iterator[list[RenderJob]]:
    """Cut the jobs, in order, into batches of one kind: texts, or variations of one strength. PNGs of one level.

    What is in a batch depends on the stream alone.

    Args:
        jobs: of one stream.
        size: the most jobs of a batch.
    """
    for _, alike in groupby(jobs, key=lambda job: (job.image is None, job.strength, job.png_level)):
        while batch := list(islice(alike, size)):
            yield batch


def render_batch(jobs: Sequence[RenderJob]) -> RenderBatch:
    """The jobs of one batch, which are of one kind, in the form in which they are sent to a renderer."""
    return RenderBatch(
        texts=tuple(job.text for job in jobs),
        seeds=tuple(job.seed for job in jobs),
        images=tuple(job.image for job in jobs if job.image is not None),
        strength=jobs[0].strength,
        png_level=jobs[0].png_level,
    )


class Recipes:
    """The job of each image of a run. `voted` finds the voted render of a candidate, if there is one.

    `are_images`: candidates are images, and so their images vary their parents'; else they are texts.
    """

    def __init__(self, config: Config, voted: Callable[[str], RenderedImage | None], are_images: bool = False) -> None:
        self._config = config
        self._voted = voted
        self._are_images = are_images

    @property
    def images(self) -> int:
        """The number of images that the release is to have."""
        return self._config.release.images

    def seed(self, candidate_id: str, variant: int) -> int:
        """The seed of a candidate's image number `variant`."""
        return render_seed(self._config.runtime.seed, candidate_id, variant)

    @property
    def png_level(self) -> int:
        """How hard the PNGs of the release are compressed."""
        return self._config.release.png_level

    def job(self, candidate: Candidate, variant: int = 0, png_level: int = DRAFT_PNG_LEVEL) -> RenderJob:
        """Image number `variant` of a candidate; number 0 is what is voted on.

        Where candidates are images, number 0 is a variation of the parent's image, and further ones are variations of
        number 0, or of the parent's where number 0 was not voted on. One without an image to vary is rendered from its
        text, like generation 0.
        """
        job = RenderJob(candidate.text, self.seed(candidate.id, variant), png_level=png_level)
        if not self._are_images:
            return job
        voted = self._voted(candidate.id) if variant else None
        if voted is None and candidate.parent_id:
            voted = self._voted(candidate.parent_id)
        if voted is None:
            return job
        numbers = self._config.candidate_generations
        born = numbers.stop if variant else candidate.generation
        strength = self._config.evolution.image_strength(max(1, born - numbers.start), len(numbers))
        return replace(job, image=bytes(read_png(voted.png)), strength=strength)
