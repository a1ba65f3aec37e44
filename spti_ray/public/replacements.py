"""Which image takes the place of one that was not accepted: a safety checker flagged it, or a filter did.

The place of an image among all that are asked for, and how often it was replaced, make its file's number and the seed
of what replaces it. So a run that goes on sees from the files that are there what was decided, and decides the rest
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from spti_ray.config import FiltersConfig
from spti_ray.types import Candidate, ReleaseItem

MOST_REPLACEMENTS = 4
"""So often an image that could not be made is replaced before its place stays empty, where there are no filters."""


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
        filters: Those of the release, which say how often and by what an image is replaced.
        themes: The theme of candidates, by id, where the votes were on themes: a next text is one of its own theme
            as long as there is one.
    """

    def __init__(
        self,
        allotted: Sequence[tuple[Candidate, int]],
        seed: Callable[[str, int], int],
        asked_for: int,
        filters: FiltersConfig | None = None,
        themes: Mapping[str, str] | None = None,
    ) -> None:
        self._seed = seed
        self._first = [(candidate, variant) for candidate, count in allotted for variant in range(count)]
        self._stride = max(asked_for, len(self._first))
        self._other_seeds = filters.other_seeds if filters else 0
        self.most = self._other_seeds + (filters.other_texts if filters else MOST_REPLACEMENTS)
        """So often an image is replaced."""
        self._themes = themes or {}
        self._of_label: dict[str, list[Candidate]] = {}
        self._rank: dict[str, int] = {}
        for candidate, _ in allotted:
            texts = self._of_label.setdefault(candidate.label, [])
            self._rank[candidate.id] = len(texts)
            texts.append(candidate)

    def __len__(self) -> int:
        return len(self._first)

    def at(self, place: int, replaced: int = 0) -> Wanted:
        """What is wanted at a place, after it was `replaced` so often: its text from other seeds, then next texts."""
        candidate, variant = self._first[place]
        number = self._number(place, replaced)
        if replaced:
            variant = number  # no other image of any text has it
            if replaced > self._other_seeds:
                candidate = self._next_text(candidate, replaced - self._other_seeds)
        item = ReleaseItem(
            file=self.file(place, replaced),
            text=candidate.text,
            label=candidate.label,
            seed=self._seed(candidate.id, variant),
            generation=candidate.generation,
            candidate_id=candidate.id,
            parent_id=candidate.parent_id,
            variant=variant,
        )
        return Wanted(place, replaced, item, candidate)

    def found(self, place: int, files: Set[str]) -> Wanted | None:
        """What fills a place already, given the `files` that an earlier start has left."""
        tries = (replaced for replaced in range(self.most + 1) if self.file(place, replaced) in files)
        return next((self.at(place, replaced) for replaced in tries), None)

    def file(self, place: int, replaced: int) -> str:
        """The file of what is wanted at a place."""
        return f"images/{self._number(place, replaced):05d}.png"

    def _number(self, place: int, replaced: int) -> int:
        return place + replaced * self._stride

    def _next_text(self, candidate: Candidate, step: int) -> Candidate:
        """The `step`-th text after a candidate's, from 1, of the same label: by rank, those of its theme first."""
        texts, own = self._of_label[candidate.label], self._rank[candidate.id]
        if not self._themes:
            return texts[(own + step) % len(texts)]
        theme = self._theme(candidate)
        following = [*texts[own + 1 :], *texts[:own]]
        following.sort(key=lambda other: self._theme(other) != theme)
        return [*following, candidate][(step - 1) % len(texts)]

    def _theme(self, candidate: Candidate) -> str | None:
        """That of a candidate, or of the voted one that it is a fresh variation of."""
        return self._themes.get(candidate.id) or self._themes.get(candidate.parent_id or "")


def replaced_times(file: str, asked_for: int) -> int:
    """How often what was wanted in the place of a release's image was replaced, by its file's number.

    Args:
        file: such as `images/00012.png`; one with another name was never replaced.
        asked_for: the number of images that the release was to have.
    """
    number = PurePosixPath(file).stem
    return int(number) // max(1, asked_for) if number.isdecimal() else 0


def not_made_line(files: Sequence[str], asked_for: int) -> str:
    """For people: how many images of a release could not be made, and what became of their places; empty if none.

    Args:
        files: those of the release's images.
        asked_for: the number of images that it was to have.
    """
    replaced = sum(replaced_times(file, asked_for) > 0 for file in files)
    missing = max(0, asked_for - len(files))
    if not replaced and not missing:
        return ""
    return (
        f"images: {replaced + missing} of {asked_for} could not be made (the renderer failed, or its safety checker "
        f"flagged them again and again): {replaced} replaced by images of the next voted texts, {missing} missing"
    )
