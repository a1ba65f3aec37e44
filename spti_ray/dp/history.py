"""History: the slots, charges and attempts of each run, read from verified ledger entries.

Rule held here: figures come from the ledger alone. Everything in here is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.dp.accounting import ACCOUNTANT, pld_epsilon
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Burned, Entry, Evaluated, HeldOut, Opened, Registered, Released, Reserved

UNCERTIFIED = ", uncertified"
"""How what is recorded of a run ends whose epsilon no certificate vouches for (`why_not_certified`)."""

CHECKED = "spti check, "
"""How what is recorded of a look at the private images themselves begins; its time follows."""


def is_check(look: Evaluated) -> bool:
    """Whether it is a look by `spti check`, most likely before the run was opened."""
    return look.metric.startswith(CHECKED)


@dataclass(frozen=True)
class Slot:
    """One charged query of a run and its outcome; a slot that is neither burned nor committed is still open."""

    reserved: Reserved
    burned: bool = False
    artifact_sha256: str | None = None
    """Of the committed histogram."""
    released: bool = False

    @property
    def open(self) -> bool:
        """Whether its outcome is not decided yet."""
        return not self.burned and self.artifact_sha256 is None


def slots_of(entries: Sequence[Entry], run: str) -> list[Slot]:
    """The run's slots in order; slot i is at index i.

    Raises:
        LedgerError: slots are out of order.
    """
    slots: list[Slot] = []
    for entry in entries:
        event = entry.event
        if isinstance(event, Registered | Opened | Evaluated | HeldOut) or event.run != run:
            continue
        if isinstance(event, Reserved) and event.slot == len(slots):
            slots.append(Slot(event))
            continue
        if isinstance(event, Reserved) or not 0 <= event.slot < len(slots):
            raise LedgerError(f"ledger entry {entry.seq}: slot {event.slot} of run {run!r} is out of order")
        before = slots[event.slot]
        if isinstance(event, Burned):
            slots[event.slot] = Slot(before.reserved, burned=True)
        else:
            slots[event.slot] = Slot(before.reserved, False, event.artifact_sha256, isinstance(event, Released))
    return slots


def attempts_of(entries: Sequence[Entry], run: str) -> list[Opened]:
    """The run's OPENED entries, one for each attempt, in order; [] for a run that was never opened."""
    return [entry.event for entry in entries if isinstance(entry.event, Opened) and entry.event.run == run]


def opened_first(entries: Sequence[Entry], run: str) -> str:
    """The hash of the run's first OPENED entry, which names the run and its plan for good; empty if it has none."""
    opened = (entry.hash for entry in entries if isinstance(entry.event, Opened) and entry.event.run == run)
    return next(opened, "")


def ancestry(entries: Sequence[Entry], run: str) -> list[str]:
    """The runs whose releases `run` continues from, the nearest first; [] for a run that started from prompts.

    Raises:
        LedgerError: the entries say that a run continues from itself.
    """
    found: list[str] = []
    while (attempts := attempts_of(entries, run)) and (origin := attempts[0].origin):
        if origin in found:
            raise LedgerError(f"the ledger says that run {origin!r} goes on from itself")
        found.append(origin)
        run = origin
    return found


def charges(entries: Sequence[Entry], run: str | None = None) -> list[tuple[float, int]]:
    """(sigma, votes per record) of every query charged to the dataset, or to one of its runs."""
    events = [entry.event for entry in entries if isinstance(entry.event, Reserved)]
    return [(event.sigma, event.votes_per_record) for event in events if run is None or event.run == run]


def unprotected_runs(entries: Sequence[Entry]) -> list[Evaluated]:
    """The EVALUATED entries of runs that were never opened: not private, not certified, or only checked (`is_check`).

    No charge covers them.
    """
    opened = {entry.event.run for entry in entries if isinstance(entry.event, Opened)}
    events = [entry.event for entry in entries if isinstance(entry.event, Evaluated)]
    return [event for event in events if event.run not in opened]


def find_registration(entries: Sequence[Entry]) -> Registered | None:
    """The dataset's registration, which is the chain's first entry; None before it."""
    event = entries[0].event if entries else None
    return event if isinstance(event, Registered) else None


def require_registration(entries: Sequence[Entry]) -> Registered:
    """The dataset's registration.

    Raises:
        LedgerError: there is none.
    """
    registered = find_registration(entries)
    if registered is None:
        raise LedgerError("the dataset is not registered in this ledger")
    return registered


@dataclass(frozen=True)
class RunHistory:
    """One run as its ledger records it. Its fields are fields of certificates."""

    run: str
    first_opened: str
    """UTC, ISO 8601."""
    attempts: int
    epsilon: float
    delta: float
    """What the run was planned for."""
    sigma: float
    votes_per_record: int
    queries_planned: int
    queries_charged: int
    committed: int
    burned: int
    epsilon_spent: float
    """Certified for the charged queries at the run's own delta."""
    private: bool
    """False if any attempt simulated its noise."""
    evaluated_by: tuple[str, ...]
    """Metrics on the private set that somebody has seen for this run."""
    origin: str = ""
    """The run that it continues from, or empty. Its own release then depends on the queries of both."""


def history(entries: Sequence[Entry], accountant: int = ACCOUNTANT) -> list[RunHistory]:
    """All runs on the dataset, in the order in which they were first opened.

    Args:
        accountant: the version of the accounting that computes the figures.
    """
    first: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry.event, Opened):
            first.setdefault(entry.event.run, entry.time)
    return [_history_of(entries, run, time, accountant) for run, time in first.items()]


def _history_of(entries: Sequence[Entry], run: str, first_opened: str, accountant: int) -> RunHistory:
    attempts, slots = attempts_of(entries, run), slots_of(entries, run)
    plan = attempts[0]
    return RunHistory(
        run=run,
        first_opened=first_opened,
        attempts=len(attempts),
        epsilon=plan.epsilon,
        delta=plan.delta,
        sigma=plan.sigma,
        votes_per_record=plan.votes_per_record,
        queries_planned=plan.generations + plan.spare_slots,
        queries_charged=len(slots),
        committed=sum(slot.artifact_sha256 is not None for slot in slots),
        burned=sum(slot.burned for slot in slots),
        epsilon_spent=pld_epsilon(charges(entries, run), plan.delta, accountant),
        private=all(attempt.private for attempt in attempts),
        evaluated_by=tuple(
            entry.event.metric for entry in entries if isinstance(entry.event, Evaluated) and entry.event.run == run
        ),
        origin=plan.origin,
    )
