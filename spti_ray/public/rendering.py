"""Renders the released texts. Post-processing of noised counts: more images cost no privacy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from spti_ray.errors import NothingMade
from spti_ray.files import write_atomic
from spti_ray.public.engines import Engines, RenderJob
from spti_ray.public.scoring import render_seed
from spti_ray.types import Candidate, ReleaseItem, RenderedImage

log = logging.getLogger(__name__)


def render_release(
    staging: Path,
    allotted: list[tuple[Candidate, int]],
    voted: Mapping[str, RenderedImage],
    engines: Engines,
    run_seed: int,
) -> list[ReleaseItem]:
    """Write `staging/images/NNNNN.png` for each (candidate, number of images) and return the release's items.

    The first image of a text is the render that was voted on, where there is one; images that an interrupted run
    left are kept. An image that can't be rendered is left out.

    Raises NothingMade if not one image could be rendered.
    """
    images = staging / "images"
    images.mkdir(parents=True, exist_ok=True)
    items = list(_items(allotted, run_seed))
    missing: list[ReleaseItem] = []
    for item in items:
        reusable = voted.get(item.candidate_id) if item.variant == 0 else None
        if (staging / item.file).exists():
            continue
        if reusable is not None:
            write_atomic(staging / item.file, reusable.png)
        else:
            missing.append(item)
    failed: set[str] = set()
    jobs = [RenderJob(item.text, item.seed) for item in missing]  # its length is known to whoever renders
    for item, png in zip(missing, engines.render(jobs), strict=True):
        if png is None:
            failed.add(item.file)
        else:
            write_atomic(staging / item.file, png)
    if failed:
        log.warning("%d of %d images could not be rendered and are left out", len(failed), len(items))
    if len(failed) == len(items):
        raise NothingMade("no image of the release could be rendered; see the renderer's errors above")
    return [item for item in items if item.file not in failed]


def _items(allotted: list[tuple[Candidate, int]], run_seed: int) -> Iterator[ReleaseItem]:
    number = 0
    for candidate, count in allotted:
        for variant in range(count):
            yield ReleaseItem(
                file=f"images/{number:05d}.png",
                text=candidate.text,
                label=candidate.label,
                seed=render_seed(run_seed, candidate.id, variant),
                generation=candidate.generation,
                candidate_id=candidate.id,
                parent_id=candidate.parent_id,
                variant=variant,
            )
            number += 1
