"""Which generations there are to make, what an earlier attempt at the run left of each, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from spti_ray.dp.gate import Gate
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.errors import RunDamaged
from spti_ray.evolution.protocols import Population, Store
from spti_ray.public.scoring import Scoring
from spti_ray.public.themes import Question, Theme, by_candidate
from spti_ray.types import Candidates, NoisyHistogram, ScoredCandidates, Selected


class Measured(NamedTuple):
    """The candidates of a generation, and how they were voted on: one by one, or in themes. `kin`: groups of similar
    candidates, which are the themes if there are any."""

    candidates: Candidates
    histogram: NoisyHistogram
    themes: tuple[Theme, ...]
    kin: tuple[Theme, ...]


class BudgetExhausted(RuntimeError):
    """No generation could be measured within the planned slots."""


class Generations:
    """The generations of a run, in order, as far as its slots go."""

    def __init__(
        self, numbers: range, population: Population, scoring: Scoring, gate: Gate | UnnoisedGate, store: Store
    ) -> None:
        self._numbers = numbers
        self._population = population
        self._scoring = scoring
        self._gate = gate
        self._store = store
        self._num_measured = 0

    def __iter__(self) -> Iterator[tuple[int, Candidates | None, Measured | None]]:
        """The number of each, the candidates that an earlier attempt stored, and what it measured of them, if it did:
        that is replayed, at no charge.

        Raises:
            BudgetExhausted: at the end, if none could be measured.
            RunDamaged: at one that was measured, if its candidates are gone.
        """
        for number in self._numbers:
            histogram, candidates = self._gate.committed(number), self._store.load(number)
            if histogram is None and self._gate.slots_left() == 0:
                # Crashes burned reservations and no spare slot is left: what was measured so far is the result.
                break
            if histogram is None:
                yield number, candidates, None
            elif candidates is None:
                raise RunDamaged(f"generation {number} is committed, but its candidates are gone from the run")
            else:
                themes = self._store.load_themes(number)
                kin = themes or self._store.load_kin(number)
                yield number, candidates, Measured(candidates, histogram, themes, kin)
        if not self._num_measured:
            raise BudgetExhausted("every planned query was burned by crashes; start a new run, or plan spare_slots")

    def keep(self, number: int, scored: ScoredCandidates, question: Question, parents: Sequence[Selected]) -> None:
        """Store candidates before they are voted on. Raises NothingMade if the first ones are not worth a vote."""
        if not self._num_measured:
            # Before they are stored: when whatever failed is mended, the run makes its first generation anew.
            self._population.check(scored.candidates, parents)
            self._scoring.check(scored)
        self._store.save(number, scored, question)

    def finish(
        self, number: int, measured: Measured, parents: Sequence[Selected], selected: tuple[Selected, ...]
    ) -> None:
        """Store who was selected, and let the population learn from the votes. `parents` are those before."""
        candidates, histogram, themes, kin = measured
        self._population.count(number, candidates, parents)
        self._store.save_selected(number, selected)
        self._population.learn(candidates, by_candidate(candidates, histogram, themes), kin)
        self._num_measured += 1
