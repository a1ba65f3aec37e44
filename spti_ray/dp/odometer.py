"""The odometer: what a run and its dataset have spent. Rule held here: it is read from the ledger's entries alone.

It is up to date at any moment, since a query's charge is in the ledger before its first vote is cast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.dp.accounting import ACCOUNTANT, pld_epsilon
from spti_ray.dp.chain import LedgerError, head_of
from spti_ray.dp.entries import Entry, Evaluated
from spti_ray.dp.history import RunHistory, attempts_of, charges, history, require_registration, unprotected_runs
from spti_ray.dp.lifetime import lifetime_epsilon


@dataclass(frozen=True)
class OdometerReading:
    """What a run and its dataset have spent. Public. `private` is False if any attempt simulated its noise."""

    dataset: str
    run: str
    private: bool
    noise: str
    """The noise source; those of all attempts if they differ."""
    epsilon: float
    """Certified for the run's charged queries at the run's delta, under add/remove of one unit."""
    replace_one_epsilon: float
    """The same under replacement of one unit."""
    queries: int
    """Charged queries (RESERVED): `committed` of them have a histogram, `burned` never will."""
    committed: int
    burned: int
    attempts: int
    runs: tuple[RunHistory, ...]
    """All runs on the dataset, this one included, in the order in which they were opened."""
    lifetime_budget: float | None
    lifetime_delta: float
    lifetime_epsilon: float
    """Epsilon of the charged queries of all runs together, at `lifetime_delta`; see `lifetime.lifetime_epsilon`."""
    lifetime_private: bool
    """False if any run on the dataset used simulated noise: `lifetime_epsilon` then holds for none of them."""
    ledger_head: str
    unprotected_runs: tuple[Evaluated, ...] = ()
    """Runs on the dataset that are not private or not certified, and charged nothing."""

    @property
    def lifetime_burned(self) -> int:
        """Burned queries of all runs on the dataset."""
        return sum(run.burned for run in self.runs)


def read_odometer(entries: Sequence[Entry], run: str, accountant: int = ACCOUNTANT) -> OdometerReading:
    """What `run` and its dataset have spent, as of the last of `entries`.

    Raises:
        LedgerError: the dataset is not registered, or the ledger does not know the run.
    """
    registered, attempts = require_registration(entries), attempts_of(entries, run)
    runs = history(entries, accountant)
    ours = next((past for past in runs if past.run == run), None)
    if ours is None:
        raise LedgerError(f"dataset {registered.dataset!r}: its ledger knows no run {run!r}")
    terms = charges(entries, run)
    return OdometerReading(
        dataset=registered.dataset,
        run=run,
        private=ours.private,
        noise="; ".join(dict.fromkeys(attempt.noise for attempt in attempts)),
        epsilon=ours.epsilon_spent,
        replace_one_epsilon=pld_epsilon([(sigma, 2 * votes) for sigma, votes in terms], ours.delta, accountant),
        queries=ours.queries_charged,
        committed=ours.committed,
        burned=ours.burned,
        attempts=ours.attempts,
        runs=tuple(runs),
        lifetime_budget=registered.lifetime_epsilon,
        lifetime_delta=registered.delta,
        lifetime_epsilon=lifetime_spent(entries, accountant),
        lifetime_private=all(past.private for past in runs),
        ledger_head=head_of(entries),
        unprotected_runs=tuple(unprotected_runs(entries)),
    )


def lifetime_spent(entries: Sequence[Entry], accountant: int = ACCOUNTANT) -> float:
    """The lifetime epsilon of all charged queries, at the registered delta.

    Raises:
        LedgerError: the dataset is not registered.
    """
    return lifetime_epsilon(charges(entries), require_registration(entries).delta, accountant)
