"""How many bytes a run leaves on disk, by what they are."""

from __future__ import annotations

from dataclasses import dataclass

from spti_ray.config import Role
from spti_ray.config.method_traits import shards_vote, stays_inside, why_not_private
from spti_ray.planning.costs.estimate import Estimate
from spti_ray.planning.costs.rates import pixels_of
from spti_ray.planning.workload import kept_renders
from spti_ray.types import Space

_BYTES_PER_PIXEL = 3
_EMBEDDER: dict[Space, Role] = {"image": "image_embedder", "text": "text_embedder"}
_VIEW_BYTES = 2
"""Private views are int16, candidates' embeddings float32 (`private.view_store`, `runs.generation_store`)."""
_EMBEDDING_BYTES = 4


@dataclass(frozen=True)
class Stored:
    """Files of one sort. `bytes` is None where something is not known; `how` says how they are counted, or what is
    missing."""

    what: str
    where: str
    bytes: int | None
    how: str


def storage_of(found: Estimate) -> tuple[Stored, ...]:
    """What the release, the candidates and the private views take. Logs, tables of texts and models are left out."""
    config = found.config
    where = "release/" if not stays_inside(config) else "internal/"
    stored = [_images(found, "release", where, config.release.images)]
    if not shards_vote(config):
        return tuple(stored)
    inside = "internal/" if why_not_private(config) else ""
    if renders := kept_renders(config):
        stored.append(_images(found, "candidates' renders", f"{inside}generations/", renders))
    for space in config.evolution.spaces:
        role = _EMBEDDER[space]
        width = found.rates.width_of(role, found.engines.of(role))
        missing = f"the width of {found.engines.of(role).model}'s embeddings is not known (width: of a file of rates)"
        rows = config.evolution.candidates * len(config.candidate_generations)
        stored.append(
            Stored(
                f"candidates' {space} embeddings",
                f"{inside}generations/",
                rows * width * _EMBEDDING_BYTES if width else None,
                f"{rows} rows of {width} float32" if width else missing,
            )
        )
        records = found.private_records
        stored.append(
            Stored(
                f"private {space} embeddings",
                "internal/views/",
                records * width * _VIEW_BYTES if width and records else None,
                (f"{records} rows of {width} int16" if records else "give --private-records") if width else missing,
            )
        )
    return tuple(stored)


def _images(found: Estimate, what: str, where: str, count: int) -> Stored:
    pixels = pixels_of(found.engines.renderer)
    if pixels is None:
        return Stored(what, where, None, "give options.height and width of the renderer")
    if found.rates.png_bytes:
        each, measured = found.rates.png_bytes
        return Stored(
            what, where, round(count * each * pixels / measured), f"{count} PNG files of the mean size of that run's"
        )
    return Stored(
        what, where, count * pixels * _BYTES_PER_PIXEL, f"at most: {count} images, as if PNG compressed nothing"
    )
