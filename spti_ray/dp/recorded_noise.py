"""The noise of a resumed run. Rule held here: it keeps its recorded sigma, or is refused if that is too small now."""

from __future__ import annotations

from collections.abc import Sequence

from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.calibration import NoisePlan, plan_at
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import attempts_of
from spti_ray.figures import at_least

TOLERANCE = 1e-6
"""By how much the epsilon of a run, or of its dataset, may exceed what an earlier accountant certified."""

_SETTINGS = {  # what a resumed run may not change, and the setting's name
    "epsilon": "privacy.epsilon",
    "delta": "privacy.delta",
    "votes_per_record": "privacy.votes_per_record",
    "generations": "evolution.generations",
    "spare_slots": "privacy.spare_slots",
}


def epsilon_tolerance(entries: Sequence[Entry], run: str) -> float:
    """`TOLERANCE` for a run that an earlier accountant planned; 0 for all others, also new ones."""
    before = attempts_of(entries, run)
    return TOLERANCE if before and before[0].accountant < ACCOUNTANT else 0.0


def resumed_plan(entries: Sequence[Entry], run: str, plan: NoisePlan) -> tuple[NoisePlan, str]:
    """The plan by which a run goes on: for a new run `plan`, for a resumed one the recorded sigma.

    Returns:
        (the plan, a line for people; empty if the plan is `plan`).

    Raises:
        LedgerError: the run was started with other settings, or today's accounting certifies more for the recorded
            sigma than the epsilon that the run was started for.
    """
    before = attempts_of(entries, run)
    if not before:
        return plan, ""
    first = before[0]
    for field, name in _SETTINGS.items():
        if getattr(first, field) != getattr(plan, field):
            raise LedgerError(
                f"run {run!r} was started with {name} {getattr(first, field)}, not {getattr(plan, field)}: "
                "change it back or start a new run"
            )
    if first.sigma == plan.sigma:
        return plan, ""
    if first.accountant == ACCOUNTANT:
        raise LedgerError(
            f"run {run!r} was started with sigma {first.sigma}, and this build, of the same accounting version, gives "
            f"{plan.sigma}: go on with the build and libraries that it was started with, or start a new run"
        )
    kept = plan_at(first.sigma, plan.epsilon, plan.delta, plan.votes_per_record, plan.generations, plan.spare_slots)
    # Twelve digits: a difference of 1e-7 is what this is about.
    figures = (
        f"was started with sigma {first.sigma:.6g} (accounting version {first.accountant}), for which version "
        f"{ACCOUNTANT} certifies epsilon {at_least(kept.achieved_epsilon, 12)}; privacy.epsilon is {plan.epsilon:g}"
    )
    over = kept.achieved_epsilon - plan.epsilon
    if over > epsilon_tolerance(entries, run):
        raise LedgerError(f"run {run!r} {figures}: it can't go on; start a new run. What it spent stays charged")
    excess = f" (over by less than {TOLERANCE:g}, which its certificate tells)" if over > 0 else ""
    return kept, f"the run {figures}{excess}: it goes on with that sigma"
