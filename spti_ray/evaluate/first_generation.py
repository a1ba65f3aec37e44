"""The images of a run's first candidates: what its models drew of public prompts before anybody voted."""

from __future__ import annotations

from spti_ray.config.loading import ConfigError
from spti_ray.evaluate.image_sets import Images, ImageSet, candidate_texts, generation_images
from spti_ray.models.factory import build_engine, engines_config
from spti_ray.models.pixels import to_png
from spti_ray.runs.folder import RunDir
from spti_ray.step_progress import Told
from spti_ray.types import derive_seed

_CHUNK = 16


class NotMade(Exception):
    """There are no such images; its text says why."""


def first_generation(run: RunDir, *, render: bool, seed: int, told: Told) -> ImageSet:
    """The renders of the first candidates: those that were kept, or new ones of the same texts.

    Args:
        run: a finished run.
        render: whether the run's renderer may draw them again, in this process, where none were kept.
        seed: of new renders, public.
        told: is told how far they are.

    Raises:
        NotMade: the run had no such candidates, or no renders of them were kept and `render` is not set.
        ConfigError: what was kept can't be read.
        ValueError, ModelMissing: the renderer can't be loaded.
    """
    config = run.config
    if config.origin is not None:
        raise NotMade("the run goes on from another one, so that its first candidates come of votes")
    number = config.candidate_generations.start
    if not (run.generations / f"{number:02d}" / "candidates.parquet").is_file():
        raise NotMade("the run's method has no candidates")
    try:
        return generation_images(run.generations, number, candidates=True)
    except ConfigError:
        if not render:
            raise NotMade("the run kept no renders of its first candidates; --render draws them again") from None
    texts = candidate_texts(run.generations, number)
    told("loading the renderer", 0, 0)
    renderer = build_engine("renderer", engines_config(config.runtime.engines).renderer)
    made: list[bytes] = []
    for first in range(0, len(texts), _CHUNK):
        told("rendering the first candidates", first, len(texts))
        chunk = texts[first : first + _CHUNK]
        seeds = [derive_seed(seed, first + place, "first candidates") for place in range(len(chunk))]
        made += [to_png(image) for image in renderer.render(chunk, seeds)]
    return ImageSet("generation-0-again", Images(made), tuple(texts), None)
