"""RANDOM_API and VARIATION_API of Private Evolution on images (arXiv 2305.15560, algorithms 1 and 2).

RANDOM_API renders public prompts made of the configured attribute values, without a language model. VARIATION_API is
image-to-image by the same renderer: a child has its parent's text and an image of its own, which `render_jobs` defines.
This module streams candidates as `population` does, and needs no engine for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from spti_ray.config import Config
from spti_ray.public.counted import made_of
from spti_ray.public.offspring import survivors_and_children
from spti_ray.public.slots import Slots
from spti_ray.public.themes import Theme
from spti_ray.types import Candidate, Candidates, NoisyHistogram, Selected


class ImagePopulation:
    """Makes candidates that are images; sees no private value."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.outcomes: Counter[str] = Counter()
        """Always empty: there are no texts that could fail (see `Population.outcomes`)."""

    def random_api(self) -> Iterator[Candidate]:
        """RANDOM_API: the first generation, `evolution.candidates` prompts of attribute values, split over labels."""
        # Nothing is written: the bare attribute values, which stand in for texts that failed, are the prompts.
        number = self._config.evolution.first_with_candidates
        slots = Slots(self._config).all_new()
        return iter([Candidate(slot.id, slot.fallback, slot.label, number) for slot in slots])

    def variation_api(self, generation: int, selected: Sequence[Selected]) -> Iterator[Candidate]:
        """VARIATION_API: the survivors, if they are kept, then variations of the selected images, up to the quota."""
        kept, children = survivors_and_children(self._config.evolution, generation, selected)
        return iter([*kept, *(_variation(child.id, child.parent, generation) for child in children)])

    def learn(self, candidates: Candidates, histogram: NoisyHistogram, kin: Sequence[Theme] = ()) -> None:
        """Do nothing: there are no prompts that could show winners and losers."""

    def check(self, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Do nothing: no text is asked for."""

    def count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Do nothing: no text is asked for."""

    def varied(self, parents: Sequence[Candidate]) -> list[Candidate]:
        """One new variation of each of the voted images, in their order, to be released instead of them."""
        generation = self._config.generation_numbers.stop
        return [_variation(f"g{generation:02d}-{i:06d}", parent, generation) for i, parent in enumerate(parents)]

    def variations(self, candidates: Iterable[Candidate], count: int) -> Iterator[Candidate]:
        """`count` throw-away variations of each candidate, for lookahead: as far from it as its children would be."""
        origins = iter(candidates)
        varied = (
            _variation(f"{candidate.id}+{i:02d}", candidate, candidate.generation + 1)
            for candidate in origins
            for i in range(count)
        )
        return made_of(origins, varied, count)


def _variation(slot: str, parent: Candidate, generation: int) -> Candidate:
    return Candidate(slot, parent.text, parent.label, generation, parent.id, "image")
