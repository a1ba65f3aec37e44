"""Renders the released texts. This is post-processing of noised counts: more images cost no privacy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spti_ray.errors import NothingMade
from spti_ray.io.images import read_png
from spti_ray.public.counted import counted
from spti_ray.public.engines import Engines
from spti_ray.public.image_writer import ImageWriter
from spti_ray.public.render_jobs import Recipes
from spti_ray.types import Candidate, Image, ReleaseItem, RenderedImage

log = logging.getLogger(__name__)


def render_release(
    staging: Path,
    allotted: Sequence[tuple[Candidate, int]],
    voted: Mapping[str, RenderedImage],
    engines: Engines,
    recipes: Recipes,
    made: Callable[[ReleaseItem], Image | None] = lambda item: None,
) -> list[ReleaseItem]:
    """Write `staging/images/NNNNN.png` for each image of the release.

    The first image of a text is the render that was voted on, where there is one. Images that an interrupted run left
    are kept. An image that can't be rendered is left out; one that was lost before it was written is rendered again.

    Args:
        staging: The folder that becomes the release.
        allotted: The candidates, and the number of images of each.
        voted: Renders that were voted on, by candidate id.
        engines: Has the renderer.
        recipes: Defines the job of each image.
        made: Finds the PNG of an item that was rendered before.

    Returns:
        The items of the images that are there.

    Raises:
        NothingMade: not one image could be rendered.
        DiskFull: no space left.
    """
    images = staging / "images"
    images.mkdir(parents=True, exist_ok=True)
    there = {f"images/{path.name}" for path in images.iterdir()}
    wanted = list(_items(allotted, recipes))
    items = [item for item, _ in wanted]
    left = [(item, candidate) for item, candidate in wanted if item.file not in there]
    known = set(voted)
    missing: list[tuple[ReleaseItem, Candidate]] = []
    failed: set[str] = set()
    with ImageWriter(staging) as writer:
        for item, candidate in left:
            reusable = item.variant == 0 and item.candidate_id in known
            image = _VotedRender(voted, item.candidate_id) if reusable else made(item)
            if image is not None:
                writer.put(item.file, image)
            else:
                missing.append((item, candidate))
        while missing:
            # One by one, since each may hold an image.
            jobs = counted((recipes.job(candidate, item.variant) for item, candidate in missing), len(missing))
            for (item, _), image in zip(missing, engines.render(jobs), strict=True):
                if image is None:
                    failed.add(item.file)
                else:
                    writer.put(item.file, image)
            lost = writer.finish()
            missing = [pair for pair in missing if pair[0].file in lost]
        writer.finish()
    if failed:
        log.warning("%d of %d images could not be rendered and are left out", len(failed), len(items))
    if len(failed) == len(items):
        raise NothingMade("no image of the release could be rendered; see internal/driver.log")
    return [item for item in items if item.file not in failed]


@dataclass(frozen=True)
class _VotedRender:
    """The render that was voted on, read when it is written."""

    voted: Mapping[str, RenderedImage]
    candidate_id: str
    num_bytes: int = 0

    def read(self) -> bytes | memoryview:
        return read_png(self.voted[self.candidate_id].png)


def _items(allotted: Sequence[tuple[Candidate, int]], recipes: Recipes) -> Iterator[tuple[ReleaseItem, Candidate]]:
    number = 0
    for candidate, count in allotted:
        for variant in range(count):
            item = ReleaseItem(
                file=f"images/{number:05d}.png",
                text=candidate.text,
                label=candidate.label,
                seed=recipes.seed(candidate.id, variant),
                generation=candidate.generation,
                candidate_id=candidate.id,
                parent_id=candidate.parent_id,
                variant=variant,
            )
            yield item, candidate
            number += 1
