"""The evolution loop: SPTI's algorithm (arXiv 2506.07555, algorithm 1) on a voter, a gate and a population.

Private Evolution on images (arXiv 2305.15560) is the same loop on a population of images.

No Ray and no engine in here. Whatever is asked of the private side goes through `Voter`, and whatever comes back
goes through `Gate`, which charges the budget before any vote is cast and adds the noise once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from spti_ray.config import Config
from spti_ray.dp.gate import Gate
from spti_ray.dp.odometer import OdometerReading
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.errors import RunDamaged
from spti_ray.public.scoring import Scoring
from spti_ray.public.selection import Selected, select
from spti_ray.types import Candidate, Candidates, NoisyHistogram, Query, ScoredCandidates, Votes


class Population(Protocol):
    """RANDOM_API and VARIATION_API, as the loop sees them."""

    def initial(self) -> Iterable[Candidate]: ...

    def next(self, generation: int, selected: Sequence[Selected]) -> Iterable[Candidate]: ...

    def check(self, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Raises NothingMade if the first generation is not worth a vote."""
        ...

    def count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Note how many of the generation's texts nobody wrote; it was made of the survivors `parents`."""
        ...

    def learn(self, candidates: Candidates, histogram: NoisyHistogram) -> None:
        """Hear how the generation was voted on, before the next is made of it."""
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

    def save(self, generation: int, scored: ScoredCandidates) -> None: ...

    def save_selected(self, generation: int, selected: tuple[Selected, ...]) -> None: ...


class Watcher(Protocol):
    """Told where the loop is and what has been spent, for the progress display."""

    def generation(self, number: int, stage: str) -> None: ...

    def charged(self, spend: OdometerReading | None) -> None:
        """The odometer after each charge, which comes before the votes it pays for; None where nothing is charged."""
        ...


class BudgetExhausted(RuntimeError):
    """No generation could be measured within the planned slots."""


def evolve(
    config: Config,
    population: Population,
    scoring: Scoring,
    voter: Voter,
    gate: Gate | UnnoisedGate,
    store: Store,
    watch: Watcher,
    selected: tuple[Selected, ...] = (),
) -> tuple[Selected, ...]:
    """Run all generations and return the voted texts. Resumes from what `store` and `gate` hold.

    `selected`: the survivors of the run that this one goes on from; without them generation 0 is RANDOM_API's.

    Fewer generations than planned are measured if crashes burned slots. BudgetExhausted if none could be. NothingMade,
    before the first reservation, if next to nothing of the first generation could be written, or rendered and embedded.
    """
    k = config.privacy.votes_per_record
    measured = 0
    for generation in config.generation_numbers:
        histogram = gate.committed(generation)
        candidates = store.load(generation)
        if histogram is None:
            if gate.slots_left() == 0:
                # Crashes burned reservations and no spare slot is left: what was measured so far is the result.
                break
            watch.generation(generation, "candidates")
            fresh = candidates or (population.next(generation, selected) if selected else population.initial())
            scored = scoring.embed(fresh, partial(voter.show, generation, votes_per_record=k))
            candidates = scored.candidates
            if not measured:
                # Before it is stored: when whatever failed is mended, the run makes its first generation anew.
                population.check(candidates, selected)
                scoring.check(scored)
            store.save(generation, scored)
            watch.generation(generation, "votes")
            voter.ready()
            ids = tuple(candidate.id for candidate in candidates)
            reservation = gate.reserve(generation, scored.sha256(), ids)
            watch.charged(gate.odometer_reading())
            votes = voter.vote(reservation.query, scored, k)
            histogram = gate.measure(reservation, votes, voter.num_shards)
        if candidates is None:
            raise RunDamaged(f"generation {generation} is committed, but its candidates are gone from the run")
        population.count(generation, candidates, selected)
        selected = select(candidates, histogram, config.evolution, config.runtime.seed)
        store.save_selected(generation, selected)
        population.learn(candidates, histogram)
        measured += 1
    if not measured:
        raise BudgetExhausted("every planned query was burned by crashes; start a new run, or plan spare_slots")
    return selected
