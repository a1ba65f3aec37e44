"""The lifetime budget. Rule held here: no query and no run is allowed that would exceed the dataset's lifetime epsilon.

Decided on the ledger's entries alone; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.dp.calibration import NoisePlan
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import GENESIS, Entry, Registered
from spti_ray.dp.history import charges, require_registration, slots_of
from spti_ray.dp.lifetime import largest_that_fits, lifetime_epsilon
from spti_ray.dp.recorded_noise import epsilon_tolerance
from spti_ray.figures import at_least


class BudgetRefused(LedgerError):
    """The dataset's lifetime budget does not cover the charge; nothing was charged."""


@dataclass(frozen=True)
class Forecast:
    """What one more run would do to the dataset's budget.

    `spent` and `after` are the dataset's lifetime epsilon now and after the run, at the registered `delta`; `budget` is
    None where there is no limit.
    """

    spent: float
    after: float
    budget: float | None
    delta: float
    affordable: str
    """Empty if the run fits; else the largest settings that would fit, in words."""


def forecast(entries: Sequence[Entry], plan: NoisePlan) -> Forecast:
    """What a new run of this plan would do to the budget.

    Raises:
        LedgerError: the dataset is not registered.
    """
    registered = require_registration(entries)
    spent, after = epsilon_with(entries, plan, 0), epsilon_with(entries, plan, plan.slots)
    budget = registered.lifetime_epsilon
    fits = budget is None or after <= budget
    return Forecast(spent, after, budget, registered.delta, "" if fits else _affordable(entries, plan))


def first_forecast(plan: NoisePlan, budget: float | None, delta: float) -> Forecast:
    """What a first run of this plan would do to a budget that it registers itself, of `budget` at `delta`.

    Raises:
        LedgerError: no epsilon can be certified at that delta.
    """
    return forecast([Entry(0, GENESIS, "", Registered("to be registered", budget, delta), "")], plan)


def check_rest_of_run(entries: Sequence[Entry], run: str, plan: NoisePlan) -> None:
    """Refuse to open a run if the queries that it still plans can't all be paid.

    Raises:
        BudgetRefused: names the largest settings that would fit, for a run that has made no query yet.
    """
    registered, used = require_registration(entries), len(slots_of(entries, run))
    left, budget = max(0, plan.slots - used), registered.lifetime_epsilon
    if budget is None or not left:
        return
    if (after := epsilon_with(entries, plan, left)) <= budget + epsilon_tolerance(entries, run):
        return
    refusal = (
        f"dataset {registered.dataset!r}: lifetime epsilon {budget:g} (delta {registered.delta:g}), of which "
        f"{at_least(epsilon_with(entries, plan, 0))} is spent, does not cover "
    )
    if used:
        raise BudgetRefused(f"{refusal}the {left} queries that run {run!r} has left: other runs spent in between")
    raise BudgetRefused(
        f"{refusal}this run, which would make it {at_least(after)}; the most that fits: {_affordable(entries, plan)}"
    )


def check_next_query(entries: Sequence[Entry], run: str, plan: NoisePlan) -> float:
    """Refuse one more query of the run if the budget does not cover it.

    Returns:
        The dataset's lifetime epsilon after that query.

    Raises:
        BudgetRefused: the query would exceed the budget.
    """
    registered, after = require_registration(entries), epsilon_with(entries, plan, 1)
    budget = registered.lifetime_epsilon
    if budget is not None and after > budget + epsilon_tolerance(entries, run):
        raise BudgetRefused(
            f"dataset {registered.dataset!r}: lifetime epsilon {budget:g} (delta "
            f"{registered.delta:g}) does not cover one more query at sigma {plan.sigma:.4g}, which would make it "
            f"{at_least(after)}: other runs spent in between"
        )
    return after


def epsilon_with(entries: Sequence[Entry], plan: NoisePlan, num_queries: int) -> float:
    """The dataset's lifetime epsilon with `num_queries` more of the plan's queries, at the registered delta."""
    registered = require_registration(entries)
    try:
        return lifetime_epsilon(
            [*charges(entries), (plan.sigma, num_queries * plan.votes_per_record)], registered.delta
        )
    except ValueError as error:
        raise LedgerError(f"dataset {registered.dataset!r}: {error}") from None


def _affordable(entries: Sequence[Entry], plan: NoisePlan) -> str:
    """The largest settings like the plan's that the rest of the budget covers, as a user would write them."""
    registered = require_registration(entries)
    assert registered.lifetime_epsilon is not None, "without a budget everything fits"
    fits = largest_that_fits(charges(entries), registered.lifetime_epsilon, registered.delta, plan)
    ways = [f"privacy.epsilon={fits.epsilon:g}"] if fits.epsilon else []
    if fits.generations and fits.generations_epsilon:
        ways.append(f"evolution.generations={fits.generations} with privacy.epsilon={fits.generations_epsilon:g}")
    return ", or ".join(ways) or "nothing"
