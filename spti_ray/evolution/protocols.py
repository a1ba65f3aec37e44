"""What the evolution loop asks of the public side, the private side, the disk and the progress display."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from spti_ray.dp.odometer import OdometerReading
from spti_ray.public.themes import Question, Theme
from spti_ray.types import Candidate, Candidates, NoisyHistogram, ScoredCandidates, Selected
from spti_ray.votes import Query, Votes


class Population(Protocol):
    """RANDOM_API and VARIATION_API, as the loop sees them. Streams are lazy: candidates are made as they are read."""

    def random_api(self) -> Iterable[Candidate]:
        """The first generation: candidates from public prompts alone."""
        ...

    def variation_api(self, generation: int, selected: Sequence[Selected]) -> Iterable[Candidate]:
        """A later generation: the survivors, if they are kept, and variations of the selected candidates."""
        ...

    def check(self, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Raises NothingMade if the first generation is not worth a vote."""
        ...

    def count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Note how many of the generation's texts nobody wrote; it was made of the survivors `parents`."""
        ...

    def learn(self, candidates: Candidates, histogram: NoisyHistogram, kin: Sequence[Theme] = ()) -> None:
        """Hear how the generation was voted on, before the next is made of it: candidates by their own counts or those
        of their themes, and which are of one kind."""
        ...


class Voter(Protocol):
    """The private side, as the loop sees it."""

    @property
    def num_shards(self) -> int: ...

    def ready(self) -> None:
        """Wait for the private views: what can fail there must fail before a charge is made."""
        ...

    def show(self, generation: int, block: ScoredCandidates, votes_per_record: int) -> None:
        """Candidates that are embedded while others of the generation are still made, for the private side to compare
        with its records ahead of the query. No vote is cast, and nothing comes back."""
        ...

    def vote(self, query: Query, scored: ScoredCandidates, votes_per_record: int) -> Iterable[Votes]:
        """Clean votes on `query`, one per shard, for the gate alone."""
        ...


class Store(Protocol):
    """What a generation leaves on disk, so that a resumed run goes on from it."""

    def load(self, generation: int) -> Candidates | None: ...

    def load_themes(self, generation: int) -> tuple[Theme, ...]:
        """In which themes a stored generation is voted on; none if candidate by candidate."""
        ...

    def load_kin(self, generation: int) -> tuple[Theme, ...]:
        """The groups of similar candidates of a stored generation that is voted on candidate by candidate."""
        ...

    def save(self, generation: int, scored: ScoredCandidates, question: Question) -> None: ...

    def save_selected(self, generation: int, selected: tuple[Selected, ...]) -> None: ...


class Watcher(Protocol):
    """Told where the loop is and what has been spent, for the progress display."""

    def generation(self, number: int, stage: str) -> None: ...

    def asked_again(self, count: int) -> None:
        """So many texts could not be used, and others are asked for in their place."""
        ...

    def charged(self, reading: OdometerReading | None) -> None:
        """The odometer after each charge, which comes before the votes it pays for; None where nothing is charged."""
        ...
