"""Renders the released texts. This is post-processing of noised counts: more images cost no privacy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spti_ray.errors import NothingMade
from spti_ray.io.images import read_png
from spti_ray.public.counted import counted
from spti_ray.public.engines import Engines
from spti_ray.public.image_writer import ImageWriter
from spti_ray.public.render_jobs import Recipes
from spti_ray.public.replacements import Places, Wanted, not_made_line
from spti_ray.types import Candidate, Image, ReleaseItem, RenderedImage

log = logging.getLogger(__name__)


def render_release(
    staging: Path,
    allotted: Sequence[tuple[Candidate, int]],
    voted: Mapping[str, RenderedImage],
    engines: Engines,
    recipes: Recipes,
    made: Callable[[ReleaseItem], Image | None] = lambda item: None,
    packet: str | None = None,
) -> list[ReleaseItem]:
    """Write `staging/images/NNNNN.png` for each image of the release.

    The first image of a text is the render that was voted on, where there is one. Images that an interrupted run left
    are kept. An image that can't be made is replaced by one of its label's next text (`replacements`), and left out
    where that fails again and again; one that was lost before it was written is rendered again.

    Args:
        staging: The folder that becomes the release.
        allotted: The candidates, and the number of images of each.
        voted: Renders that were voted on, by candidate id.
        engines: Has the renderer.
        recipes: Defines the job of each image.
        made: Finds the PNG of an item that was rendered before.
        packet: The XMP that each image gets, also in place of another; None for images as they come.

    Returns:
        The items of the images that are there.

    Raises:
        NothingMade: not one image could be rendered.
        DiskFull: no space left.
    """
    images = staging / "images"
    images.mkdir(parents=True, exist_ok=True)
    there = {f"images/{path.name}" for path in images.iterdir()}
    places = Places(allotted, recipes.seed, recipes.images)
    known = set(voted)
    filled: dict[int, ReleaseItem] = {}
    missing: list[Wanted] = []
    with ImageWriter(staging, packet) as writer:
        for place in range(len(places)):
            wanted = places.found(place, there) or places.at(place)
            item = wanted.item
            if item.file not in there:
                reusable = item.variant == 0 and item.candidate_id in known
                image = _VotedRender(voted, item.candidate_id) if reusable else made(item)
                if image is None:
                    missing.append(wanted)
                    continue
                writer.put(item.file, image)
            filled[place] = item
        while missing:
            # One by one, since each may hold an image.
            jobs = counted((recipes.job(one.candidate, one.item.variant) for one in missing), len(missing))
            failed: list[Wanted] = []
            for one, image in zip(missing, engines.render(jobs), strict=True):
                if image is None:
                    failed.append(one)
                else:
                    filled[one.place] = one.item
                    writer.put(one.item.file, image)
            if not filled:
                raise NothingMade("no image of the release could be rendered; see internal/driver.log")
            lost = writer.finish()
            again = [one for one in missing if one.item.file in lost]
            missing = [*again, *(other for one in failed if (other := places.after(one)) is not None)]
        writer.finish()
    items = [filled[place] for place in sorted(filled)]
    if line := not_made_line([item.file for item in items], recipes.images):
        log.warning("%s", line)
    return items


@dataclass(frozen=True)
class _VotedRender:
    """The render that was voted on, read when it is written."""

    voted: Mapping[str, RenderedImage]
    candidate_id: str
    num_bytes: int = 0

    def read(self) -> bytes | memoryview:
        return read_png(self.voted[self.candidate_id].png)
