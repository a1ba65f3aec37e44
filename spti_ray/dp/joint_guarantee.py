"""The joint guarantee. Rule held here: a release that continues from another run's pays for the queries of both.

The figures cover all planned queries, spares included, of the run and of those that it continues from. They compose as
the queries of a dataset do (`lifetime`): exactly where all have one sigma, else by the sum of their zero-concentrated
DP, since a later run's noise is chosen after an earlier release.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.calibration import NoisePlan, plan_at
from spti_ray.dp.entries import Entry, Opened
from spti_ray.dp.history import ancestry, attempts_of, charges
from spti_ray.dp.lifetime import lifetime_advantage, lifetime_epsilon


@dataclass(frozen=True)
class JointGuarantee:
    """What holds for the release of a run that continues from others; all figures include the run itself.

    `runs` are those that it continues from, the nearest first.
    """

    runs: tuple[str, ...]
    private: bool
    """False if any of `runs` simulated its noise: then nothing holds."""
    epsilon: float
    delta: float
    replace_one_epsilon: float
    advantage: float
    mu: float
    """Gaussian-DP parameter of continuous Gaussians with the same sigmas (Dong, Roth, Su 2019, arXiv 1905.02383)."""


def recorded_plan(opened: Opened, accountant: int = ACCOUNTANT) -> NoisePlan:
    """The noise plan that a ledger records, with the figures that this version of the accounting certifies."""
    return plan_at(
        opened.sigma,
        opened.epsilon,
        opened.delta,
        opened.votes_per_record,
        opened.generations,
        opened.spare_slots,
        accountant,
    )


def joint_guarantee(
    entries: Sequence[Entry], run: str, plan: NoisePlan, accountant: int = ACCOUNTANT
) -> JointGuarantee | None:
    """The joint guarantee of a run in the ledger, at its own delta; None for a run that continues from no other."""
    return _of(entries, ancestry(entries, run), plan, accountant)


def charged_joint_epsilon(
    entries: Sequence[Entry], run: str, delta: float, times: int = 1, accountant: int = ACCOUNTANT
) -> float:
    """Epsilon of the charged queries of a run and of those that it continues from.

    Args:
        times: 1 for add/remove of one unit; 2 for replacement, which changes twice as many counts.
    """
    runs = [run, *ancestry(entries, run)]
    terms = [(sigma, times * votes) for past in runs for sigma, votes in charges(entries, past)]
    return lifetime_epsilon(terms, delta, accountant)


def planned_joint_guarantee(entries: Sequence[Entry], origin: str, plan: NoisePlan) -> JointGuarantee | None:
    """The joint guarantee of a run of this plan that is not in the ledger yet and would continue from `origin`.

    None if the ledger does not know `origin`.
    """
    return _of(entries, [origin, *ancestry(entries, origin)] if attempts_of(entries, origin) else [], plan, ACCOUNTANT)


def _of(entries: Sequence[Entry], runs: list[str], plan: NoisePlan, accountant: int) -> JointGuarantee | None:
    if not runs:
        return None
    attempts = [attempts_of(entries, past) for past in runs]
    first = [of_run[0] for of_run in attempts]
    terms = [(past.sigma, past.votes_per_record * (past.generations + past.spare_slots)) for past in first]
    terms.append((plan.sigma, plan.votes_per_record * plan.slots))
    return JointGuarantee(
        runs=tuple(runs),
        private=all(attempt.private for of_run in attempts for attempt in of_run),
        epsilon=lifetime_epsilon(terms, plan.delta, accountant),
        delta=plan.delta,
        replace_one_epsilon=lifetime_epsilon([(sigma, 2 * count) for sigma, count in terms], plan.delta, accountant),
        advantage=lifetime_advantage(terms, accountant),
        mu=math.sqrt(sum(count / sigma**2 for sigma, count in terms)),
    )
