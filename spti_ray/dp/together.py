"""What holds for the release of a run that goes on from another one's: it depends on the votes of both.

The figures are those of all planned queries of the run and of those that it goes on from, spares included, composed as
the queries of a dataset are (`lifetime`): exactly where all have one sigma, else by the sum of their zero-concentrated
DP, since a later run's noise is chosen after an earlier release.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.dp.accounting import NoisePlan
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import ancestry, openings
from spti_ray.dp.lifetime import lifetime_advantage, lifetime_epsilon


@dataclass(frozen=True)
class Together:
    """`runs`: those that the run goes on from, the nearest first. All figures include the run itself."""

    runs: tuple[str, ...]
    private: bool
    """False if any of `runs` simulated its noise: nothing holds for what goes on from it."""
    epsilon: float
    delta: float
    replace_one_epsilon: float
    advantage: float
    mu: float
    """Of continuous Gaussians of the same scales."""


def together(entries: Sequence[Entry], run: str, plan: NoisePlan) -> Together | None:
    """The figures at the run's own delta; None for a run that goes on from no other."""
    runs = ancestry(entries, run)
    if not runs:
        return None
    attempts = [openings(entries, past) for past in runs]
    first = [of_run[0] for of_run in attempts]
    terms = [(past.sigma, past.votes_per_record * (past.generations + past.spare_slots)) for past in first]
    terms.append((plan.sigma, plan.votes_per_record * plan.slots))
    return Together(
        runs=tuple(runs),
        private=all(attempt.private for of_run in attempts for attempt in of_run),
        epsilon=lifetime_epsilon(terms, plan.delta),
        delta=plan.delta,
        replace_one_epsilon=lifetime_epsilon([(sigma, 2 * count) for sigma, count in terms], plan.delta),
        advantage=lifetime_advantage(terms),
        mu=math.sqrt(sum(count / sigma**2 for sigma, count in terms)),
    )
