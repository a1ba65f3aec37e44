"""What a method works with, so that it can be written down in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from spti_ray.types import Candidate, ReleaseItem, Selected

Allotment = Sequence[tuple[Candidate, int]]
"""Candidates, and how many images each gets in the release."""


class Studio(Protocol):
    """The engines of a run that are up, and the shards and the gate where the method has them (`driver.studio`)."""

    def evolve(self) -> Sequence[Selected]:
        """Private Evolution of candidates of the declared kind.

        Returns: the survivors of the last generation, in rank order within each label.
        """
        ...

    def first_generation(self) -> Sequence[Selected]:
        """Generation 0, which is made without private data, in the order in which it was asked for."""
        ...

    def wait_for_shards(self) -> None:
        """Until shards that write the images themselves have done so."""
        ...

    def label_texts(self) -> Mapping[str, str]:
        """The public text of each label: its hint or name and the domain; of a run without labels, the domain."""
        ...

    def quota(self) -> Mapping[str, int]:
        """Images of the release by label."""
        ...

    def allot(self, selected: Sequence[Selected]) -> Allotment:
        """Deal the quota of each label out to the best of its candidates."""
        ...

    def varied(self, allotment: Allotment) -> Allotment:
        """With `release.texts: varied` fresh variations in place of the voted candidates; else as they are."""
        ...

    def render(self, allotment: Allotment) -> list[ReleaseItem]:
        """Render the release. Engines of other roles than the renderer are given back for it."""
        ...
