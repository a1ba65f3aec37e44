"""Whether a render agrees with its text: how near it is to that, among other texts of the release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spti_ray.config.filters import MismatchFilter
from spti_ray.errors import NothingMade
from spti_ray.models.pixels import to_png
from spti_ray.public.engines import Engines
from spti_ray.public.exact_cosines import cosines, rounded
from spti_ray.types import FloatArray


class TextAgreement:
    """The texts of a release, embedded.

    Args:
        settings: Of the filter.
        texts: All of them, in the release's order. A render is compared with `settings.others` of them that lie evenly
            among the others; which these are depends on the texts alone.
        engines: Have the text embedder.
    """

    def __init__(self, settings: MismatchFilter, texts: Sequence[str], engines: Engines) -> None:
        self._settings = settings
        self._texts = list(dict.fromkeys(texts))
        self._places = {text: place for place, text in enumerate(self._texts)}
        rows = list(engines.embed_texts(self._texts))
        width = next((len(row) for row in rows if row is not None), 0)
        missing = np.full(width, np.nan, np.float32)
        self._rows_TE = rounded(np.stack([missing if row is None else row for row in rows]))

    def disagreement(self, text: str, embedding: FloatArray) -> Mapping[str, Any] | None:
        """How far a render is from its text, if it is too far.

        Args:
            text: one of the texts.
            embedding: of the render, L2-normalised [E].

        Returns:
            Its `rank` among the texts, from 1, and its `similarity`; None if they agree.

        Raises:
            NothingMade: the embedders have no common space.
            LookupError: the text could not be embedded.
        """
        if self._rows_TE.shape[1] != len(embedding):
            raise no_common_space(len(embedding), self._rows_TE.shape[1])
        place = self._places[text]
        own_E = self._rows_TE[place]
        if np.isnan(own_E).any():
            raise LookupError(text)
        image_E = rounded(embedding)
        own = float(cosines(own_E[None], image_E)[0])
        others = cosines(self._rows_TE[self._others(place)], image_E)
        # One that could not be embedded is NaN, which is not above anything.
        rank = 1 + int((others > own).sum())
        most, least = self._settings.max_rank, self._settings.min_similarity
        if (most is None or rank <= most) and (least is None or own >= least):
            return None
        return {"rank": rank, "similarity": round(own, 4)}

    def _others(self, place: int) -> list[int]:
        total = len(self._texts) - 1
        count = min(self._settings.others, total)
        return [(place + 1 + step * total // count) % len(self._texts) for step in range(count)]


def no_common_space(of_images: int, of_texts: int) -> NothingMade:
    """The error of two embedders whose rows differ in length."""
    return NothingMade(
        f"runtime.engines: image_embedder gives rows of {of_images} numbers and text_embedder of {of_texts}: they have "
        "no common space, which release.filters.mismatch needs"
    )


def check_common_space(engines: Engines) -> None:
    """Embed an image and a text, before anything is charged.

    Raises:
        NothingMade: the embedders give rows of different lengths, or none.
    """
    png = to_png(np.full((64, 64, 3), 127, np.uint8))
    image_E, text_E = next(iter(engines.embed_images([png])), None), next(iter(engines.embed_texts(["an image"])), None)
    if image_E is None or text_E is None:
        raise NothingMade(
            "runtime.engines: image_embedder and text_embedder, which release.filters.mismatch needs, could not embed "
            "an image and a text; see internal/driver.log"
        )
    if len(image_E) != len(text_E):
        raise no_common_space(len(image_E), len(text_E))
