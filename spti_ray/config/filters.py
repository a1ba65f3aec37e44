"""Which renders a release does not accept, and what is tried in their place. All of it is post-processing of votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from spti_ray.config.section import Section

SWITCHES = ("blank", "duplicate", "mismatch")
"""The filters by name, which are also the reasons for which a render is not accepted."""


class BlankFilter(Section):
    """Nearly one colour."""

    max_deviation: float = Field(
        default=4.0,
        ge=0,
        lt=128,
        description="A render is blank where no colour channel's standard deviation over the pixels is larger, in "
        "levels of 0 to 255.",
    )


class DuplicateFilter(Section):
    """Nearly the image of another text. Images of one text may look alike."""

    max_difference: float | None = Field(
        default=4.0,
        ge=0,
        lt=256,
        description="Thumbnails of 8 x 8 pixels that differ by no more (root mean square, in levels of 0 to 255) are "
        "duplicates; null: they are not compared.",
    )
    min_similarity: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="So are images whose embeddings by the image embedder have at least this cosine.",
    )

    @model_validator(mode="after")
    def _compares_something(self) -> DuplicateFilter:
        if self.max_difference is None and self.min_similarity is None:
            raise ValueError("compares nothing: set max_difference or min_similarity")
        return self


class MismatchFilter(Section):
    """Not what its text says, by an image embedder and a text embedder that have one space, as CLIP's two have."""

    others: int = Field(default=99, ge=1, le=10_000, description="Other texts of the release that it is compared with.")
    max_rank: int | None = Field(
        default=25,
        ge=1,
        description="A render must be among so many of these texts and its own that are nearest to it; null: any rank.",
    )
    min_similarity: float | None = Field(
        default=None, gt=-1, lt=1, description="And its cosine with its own text must be at least this."
    )

    @model_validator(mode="after")
    def _can_fail(self) -> MismatchFilter:
        if self.max_rank is None and self.min_similarity is None:
            raise ValueError("compares nothing: set max_rank or min_similarity")
        if self.max_rank is not None and self.max_rank > self.others:
            raise ValueError(
                f"max_rank {self.max_rank} is more than others ({self.others}): each render would be among the nearest"
            )
        return self


class FiltersConfig(Section):
    """What is not released. A filter that is left out, or null, is off; `true` stands for its defaults."""

    blank: BlankFilter | None = Field(default=None, description="Renders that are nearly one colour.")
    duplicate: DuplicateFilter | None = Field(
        default=None, description="Renders that are nearly an accepted image of another text."
    )
    mismatch: MismatchFilter | None = Field(
        default=None, description="Renders that are nearer to other texts than to their own."
    )
    other_seeds: int = Field(
        default=2, ge=0, le=20, description="So many other seeds are tried first in place of a render that fails,"
    )
    other_texts: int = Field(
        default=4,
        ge=0,
        le=20,
        description="and then so many of its label's next texts. If all fail, the first render stays, and is named.",
    )

    @model_validator(mode="before")
    @classmethod
    def _switched(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        by_switch = {True: {}, False: None}
        return {
            name: by_switch[value] if name in SWITCHES and isinstance(value, bool) else value
            for name, value in raw.items()
        }

    @model_validator(mode="after")
    def _filters_something(self) -> FiltersConfig:
        if not self.on:
            raise ValueError(f"no filter is on: set one of {', '.join(SWITCHES)}, or leave filters out")
        return self

    @property
    def on(self) -> tuple[str, ...]:
        """The filters that are on, by name."""
        return tuple(name for name in SWITCHES if getattr(self, name) is not None)

    @property
    def embeds_images(self) -> bool:
        """Whether renders are embedded."""
        by_embedding = self.duplicate is not None and self.duplicate.min_similarity is not None
        return by_embedding or self.mismatch is not None
