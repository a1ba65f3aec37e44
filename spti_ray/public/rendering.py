"""Renders the released texts. This is post-processing of noised counts: more images cost no privacy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from spti_ray.errors import NothingMade
from spti_ray.io.files import write_atomic
from spti_ray.public.counted import counted
from spti_ray.public.engines import Engines
from spti_ray.public.render_jobs import Recipes
from spti_ray.types import Candidate, ReleaseItem, RenderedImage

log = logging.getLogger(__name__)


def render_release(
    staging: Path,
    allotted: Sequence[tuple[Candidate, int]],
    voted: Mapping[str, RenderedImage],
    engines: Engines,
    recipes: Recipes,
    made: Callable[[ReleaseItem], bytes | None] = lambda item: None,
) -> list[ReleaseItem]:
    """Write `staging/images/NNNNN.png` for each image of the release.

    The first image of a text is the render that was voted on, where there is one. Images that an interrupted run left
    are kept. An image that can't be rendered is left out.

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
    """
    images = staging / "images"
    images.mkdir(parents=True, exist_ok=True)
    wanted = list(_items(allotted, recipes))
    items = [item for item, _ in wanted]
    missing: list[tuple[ReleaseItem, Candidate]] = []
    for item, candidate in wanted:
        reusable = voted.get(item.candidate_id) if item.variant == 0 else None
        if (staging / item.file).exists():
            continue
        png = reusable.png if reusable is not None else made(item)
        if png is not None:
            write_atomic(staging / item.file, png)
        else:
            missing.append((item, candidate))
    failed: set[str] = set()
    # One by one, since each may hold an image.
    jobs = counted((recipes.job(candidate, item.variant) for item, candidate in missing), len(missing))
    for (item, _), png in zip(missing, engines.render(jobs), strict=True):
        if png is None:
            failed.add(item.file)
        else:
            write_atomic(staging / item.file, png)
    if failed:
        log.warning("%d of %d images could not be rendered and are left out", len(failed), len(items))
    if len(failed) == len(items):
        raise NothingMade("no image of the release could be rendered; see internal/driver.log")
    return [item for item in items if item.file not in failed]


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
