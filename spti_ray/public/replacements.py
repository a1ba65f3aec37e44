"""Which image takes the place of one that was not made, such as one that a safety checker flagged.

The place of an image among all that are asked for, and how often it was replaced, make its file's number and the seed
of what replaces it. So a run that goes on sees from the files that are there what was decided, and decides the rest
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from spti_ray.types import Candidate, ReleaseItem

MOST_REPLACEMENTS = 4
"""So often an image is replaced before its place stays empty."""


@dataclass(frozen=True)
class Wanted:
    """An image of the release: its place, how many others were tried for it, and what it is to be."""

    place: int
    replaced: int
    item: ReleaseItem
    candidate: Candidate


class Places:
    """The places of a release, and what may fill them.

    Args:
        allotted: The voted candidates, and the number of images of each.
        seed: The seed of a candidate's image number `variant`.
        asked_for: The number of images of the release, of which there may be places for fewer.
    """

    def __init__(
        self, allotted: Sequence[tuple[Candidate, int]], seed: Callable[[str, int], int], asked_for: int
    ) -> None:
        self._seed = seed
        self._first = [(candidate, variant) for candidate, count in allotted for variant in range(count)]
        self._stride = max(asked_for, len(self._first))
        self._of_label: dict[str, list[Candidate]] = {}
        for candidate, _ in allotted:
            self._of_label.setdefault(candidate.label, []).append(candidate)

    def __len__(self) -> int:
        return len(self._first)

    def at(self, place: int, replaced: int = 0) -> Wanted:
        """What is wanted at a place, after it was `replaced` so often: each time an image of the label's next text."""
        candidate, variant = self._first[place]
        number = place + replaced * self._stride
        if replaced:
            texts = self._of_label[candidate.label]
            candidate = texts[(texts.index(candidate) + replaced) % len(texts)]
            variant = number  # no other image of any text has it
        item = ReleaseItem(
            file=f"images/{number:05d}.png",
            text=candidate.text,
            label=candidate.label,
            seed=self._seed(candidate.id, variant),
            generation=candidate.generation,
            candidate_id=candidate.id,
            parent_id=candidate.parent_id,
            variant=variant,
        )
        return Wanted(place, replaced, item, candidate)

    def after(self, wanted: Wanted) -> Wanted | None:
        """What is tried in place of an image that could not be made; None if nothing is left to try."""
        return self.at(wanted.place, wanted.replaced + 1) if wanted.replaced < MOST_REPLACEMENTS else None

    def found(self, place: int, files: set[str]) -> Wanted | None:
        """What fills a place already, given the `files` that an earlier start has left."""
        tries = (self.at(place, replaced) for replaced in range(MOST_REPLACEMENTS + 1))
        return next((wanted for wanted in tries if wanted.item.file in files), None)


def not_made_line(files: Sequence[str], asked_for: int) -> str:
    """For people: how many images of a release could not be made, and what became of their places; empty if none.

    Args:
        files: those of the release's images.
        asked_for: the number of images that it was to have.
    """
    replaced = sum(int(number) >= asked_for for file in files if (number := PurePosixPath(file).stem).isdecimal())
    missing = max(0, asked_for - len(files))
    if not replaced and not missing:
        return ""
    return (
        f"images: {replaced + missing} of {asked_for} could not be made (the renderer failed, or its safety checker "
        f"flagged them again and again): {replaced} replaced by images of the next voted texts, {missing} missing"
    )
