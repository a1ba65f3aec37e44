"""What a chain of entries says happened: the slots and charges of each run, and what the dataset paid in all.

Pure readings of verified entries; everything in here is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.dp.accounting import ACCOUNTANT, pld_epsilon
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Burned, Entry, Evaluated, Opened, Registered, Released, Reserved

UNCERTIFIED = ", uncertified"
"""How what is recorded of a run ends whose epsilon no certificate vouches for (`why_not_certified`)."""


@dataclass(frozen=True)
class Slot:
    """One charged query of a run and what became of it; neither burned nor committed means still open."""

    reserved: Reserved
    burned: bool = False
    artifact_sha256: str | None = None
    """Of the committed histogram."""
    released: bool = False

    @property
    def open(self) -> bool:
        return not self.burned and self.artifact_sha256 is None


def slots_of(entries: Sequence[Entry], run: str) -> list[Slot]:
    """The run's slots in order; slot i is at index i."""
    slots: list[Slot] = []
    for entry in entries:
        event = entry.event
        if isinstance(event, Registered | Opened | Evaluated) or event.run != run:
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


def openings(entries: Sequence[Entry], run: str) -> list[Opened]:
    """The run's attempts, in order."""
    return [entry.event for entry in entries if isinstance(entry.event, Opened) and entry.event.run == run]


def ancestry(entries: Sequence[Entry], run: str) -> list[str]:
    """The runs whose releases `run` goes on from, the nearest first; none for one that started from prompts."""
    found: list[str] = []
    while (attempts := openings(entries, run)) and (origin := attempts[0].origin):
        if origin in found:
            raise LedgerError(f"the ledger says that run {origin!r} goes on from itself")
        found.append(origin)
        run = origin
    return found


def charges(entries: Sequence[Entry], run: str | None = None) -> list[tuple[float, int]]:
    """(sigma, votes) of every query charged to the dataset, or to one of its runs, for the accountants."""
    events = [entry.event for entry in entries if isinstance(entry.event, Reserved)]
    return [(event.sigma, event.votes_per_record) for event in events if run is None or event.run == run]


def looks(entries: Sequence[Entry]) -> list[Evaluated]:
    """Runs on the dataset that were never opened: not private, or not certified. What they showed is in no charge."""
    opened = {entry.event.run for entry in entries if isinstance(entry.event, Opened)}
    events = [entry.event for entry in entries if isinstance(entry.event, Evaluated)]
    return [event for event in events if event.run not in opened]


def registration(entries: Sequence[Entry]) -> Registered | None:
    """The dataset's registration: the chain's first entry."""
    event = entries[0].event if entries else None
    return event if isinstance(event, Registered) else None


def registered_in(entries: Sequence[Entry]) -> Registered:
    """As `registration`, where there must be one. LedgerError if not."""
    registered = registration(entries)
    if registered is None:
        raise LedgerError("the dataset is not registered in this ledger")
    return registered


@dataclass(frozen=True)
class RunHistory:
    """One run as its ledger tells it."""

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
    """Metrics on the private set that somebody looked at."""
    origin: str = ""
    """The run whose release it goes on from, if it does: its own release then depends on the queries of both."""


def history(entries: Sequence[Entry], accountant: int = ACCOUNTANT) -> list[RunHistory]:
    """All runs on the dataset, in the order in which they were first opened."""
    first: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry.event, Opened):
            first.setdefault(entry.event.run, entry.time)
    return [_history_of(entries, run, time, accountant) for run, time in first.items()]


def _history_of(entries: Sequence[Entry], run: str, first_opened: str, accountant: int) -> RunHistory:
    attempts, slots = openings(entries, run), slots_of(entries, run)
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
