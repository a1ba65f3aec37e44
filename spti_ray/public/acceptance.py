"""Decides of each render of a release whether it is accepted. Sees public things alone: renders, and texts.

What is decided of a render depends on the render, the texts, and the images that were accepted before it in the order
in which decisions are asked for, never on when a render arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spti_ray.config import FiltersConfig
from spti_ray.public.engines import Engines
from spti_ray.public.image_measures import ImageMeasures
from spti_ray.public.near_duplicates import NearDuplicates
from spti_ray.public.text_agreement import TextAgreement
from spti_ray.types import Candidate, FloatArray

UNCHECKED = "unchecked"
"""The reason for which a render is not accepted that a filter could not look at."""


@dataclass(frozen=True)
class Seen:
    """A render that can be decided on: what it is of, as which file, its measures, and its embedding if one is used."""

    file: str
    candidate: Candidate
    measures: ImageMeasures
    embedding: FloatArray | None


class Acceptance:
    """The filters of one release, and what they have accepted.

    Args:
        filters: Those that are on.
        candidates: All whose images may be in the release, in its order.
        engines: Have the embedders that the filters need.
    """

    def __init__(self, filters: FiltersConfig, candidates: Sequence[Candidate], engines: Engines) -> None:
        self._filters = filters
        self._accepted = NearDuplicates(filters.duplicate) if filters.duplicate else None
        self._texts: TextAgreement | None = None
        if filters.mismatch:
            self._texts = TextAgreement(filters.mismatch, [candidate.text for candidate in candidates], engines)

    def why_not(self, seen: Seen) -> tuple[str, Mapping[str, Any]] | None:
        """The reason for which a render is not accepted, with what was measured; None if it is."""
        filters, measures = self._filters, seen.measures
        if filters.blank and measures.deviation <= filters.blank.max_deviation:
            return "blank", {"deviation": round(measures.deviation, 2)}
        embedding = seen.embedding
        if filters.embeds_images and (embedding is None or not np.isfinite(embedding).all()):
            return UNCHECKED, {}
        if self._texts:
            assert embedding is not None
            try:
                far = self._texts.disagreement(seen.candidate.text, embedding)
            except LookupError:
                return UNCHECKED, {}
            if far:
                return "mismatch", far
        if self._accepted:
            near = self._accepted.find(seen.candidate.id, measures.thumbnail, embedding)
            if near:
                return "duplicate", near
        return None

    def accept(self, seen: Seen) -> None:
        """Note an image of the release, to which later ones are compared."""
        usable = not self._filters.embeds_images or (
            seen.embedding is not None and bool(np.isfinite(seen.embedding).all())
        )
        if self._accepted and usable:
            self._accepted.add(seen.file, seen.candidate.id, seen.measures.thumbnail, seen.embedding)
