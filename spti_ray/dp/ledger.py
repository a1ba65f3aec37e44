"""The privacy ledger of one registered dataset: who asked what, what it cost, and whether the budget holds.

All runs on a dataset append to the same chain. Every decision (fencing, slots, budget) is taken under the lock of the
append it guards. Charges are made at RESERVED and never refunded: a burned reservation stays paid for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spti_ray.dp.accounting import NoisePlan, pld_epsilon
from spti_ray.dp.chain import Chain, IncompleteTail, LedgerError, LockedChain, verify
from spti_ray.dp.entries import Burned, Committed, Entry, Opened, Registered, Released, Reserved

__all__ = [
    "BudgetRefused", "Entry", "FencedOut", "IncompleteTail", "Lease", "Ledger", "LedgerError", "Slot",
    "SlotsExhausted", "charges", "slots_of", "verify",
]  # fmt: skip

_SETTINGS = {  # fields of a plan that a resumed run may not change, by the name the user knows
    "epsilon": "privacy.epsilon",
    "delta": "privacy.delta",
    "votes_per_record": "privacy.votes_per_record",
    "generations": "evolution.generations",
    "spare_slots": "privacy.spare_slots",
    "sigma": "sigma, from another version of the accounting code,",
}


class FencedOut(LedgerError):
    """A later attempt has taken over the run; this driver must stop."""


class BudgetRefused(LedgerError):
    """The dataset's lifetime budget does not cover the charge. Nothing was charged."""


class SlotsExhausted(LedgerError):
    """The run has made all the queries it was planned for."""


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
        if isinstance(event, Registered | Opened) or event.run != run:
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


def charges(entries: Sequence[Entry], run: str | None = None) -> list[tuple[float, int]]:
    """(sigma, votes) of every query charged to the dataset, or to one of its runs, for `pld_epsilon`."""
    events = [entry.event for entry in entries if isinstance(entry.event, Reserved)]
    return [(event.sigma, event.votes_per_record) for event in events if run is None or event.run == run]


class Ledger:
    """The ledger `<folder>/<dataset>.jsonl`."""

    def __init__(self, folder: str | Path, dataset: str) -> None:
        self.dataset = dataset
        self.path = Path(folder) / f"{dataset}.jsonl"
        self._chain = Chain(self.path)

    def register(self, lifetime_epsilon: float | None, delta: float) -> Registered:
        """Fix the dataset's budget, or find it already fixed. LedgerError if the registered budget is another.

        A configuration that names no budget (None) is held to the registered one, whatever it is.
        `delta` counts only the first time: afterwards the registered one rules, whatever the runs' own delta.
        """
        with self._chain.locked() as chain:
            if not chain.entries:
                chain.append(Registered(self.dataset, lifetime_epsilon, delta))
            registered = self._registered(chain.entries)
        if lifetime_epsilon is not None and registered.lifetime_epsilon != lifetime_epsilon:
            raise LedgerError(
                f"dataset {self.dataset!r} was registered with lifetime_epsilon {_shown(registered.lifetime_epsilon)}, "
                f"but the configuration says {_shown(lifetime_epsilon)}; set dataset.lifetime_epsilon to the registered"
            )
        return registered

    def entries(self) -> list[Entry]:
        """All intact entries, verified; [] before registration."""
        if not self.path.exists():
            return []
        try:
            return verify(self.path)
        except IncompleteTail as incomplete:
            return incomplete.entries

    def open_run(self, run: str, plan: NoisePlan, config_sha256: str, noise: str, private: bool) -> Lease:
        """Take the run: number this attempt, fence out the earlier ones, and hand over the right to append.

        LedgerError if the run was started with another plan; BudgetRefused if what is left of it can't be paid.
        """
        with self._chain.locked() as chain:
            self._registered(chain.entries)
            before = _openings(chain.entries, run)
            for field, name in _SETTINGS.items():
                if before and getattr(before[0], field) != getattr(plan, field):
                    raise LedgerError(
                        f"run {run!r} was started with {name} {getattr(before[0], field)}, not {getattr(plan, field)}: "
                        "change it back or start a new run"
                    )
            self._check_budget(chain.entries, run, plan)
            attempt = len(before) + 1
            chain.append(
                Opened(
                    run=run,
                    attempt=attempt,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    sigma=plan.sigma,
                    votes_per_record=plan.votes_per_record,
                    generations=plan.generations,
                    spare_slots=plan.spare_slots,
                    epsilon=plan.epsilon,
                    delta=plan.delta,
                    config_sha256=config_sha256,
                    noise=noise,
                    private=private,
                )
            )
        return Lease(self, self._chain, run, plan, attempt)

    def _registered(self, entries: Sequence[Entry]) -> Registered:
        event = entries[0].event if entries else None
        if not isinstance(event, Registered):
            raise LedgerError(f"dataset {self.dataset!r} is not registered in {self.path}; register it first")
        if event.dataset != self.dataset:
            raise LedgerError(f"ledger {self.path} is of dataset {event.dataset!r}; it was moved or renamed")
        return event

    def _check_budget(self, entries: Sequence[Entry], run: str, plan: NoisePlan) -> None:
        left = max(0, plan.slots - len(slots_of(entries, run)))
        self.epsilon_with(entries, plan, left)

    def epsilon_with(self, entries: Sequence[Entry], plan: NoisePlan, num_queries: int) -> float:
        """Lifetime epsilon with `num_queries` more of the plan's queries; BudgetRefused if that is over the budget."""
        registered = self._registered(entries)
        budget, terms = registered.lifetime_epsilon, charges(entries)

        def epsilon(queries: int) -> float:
            try:
                return pld_epsilon([*terms, (plan.sigma, queries * plan.votes_per_record)], registered.delta)
            except ValueError as error:
                raise LedgerError(f"dataset {self.dataset!r}: {error}") from None

        total = epsilon(num_queries)
        if budget is None or total <= budget or num_queries == 0:
            return total
        fit, over = -1, num_queries
        while over - fit > 1:
            middle = (fit + over) // 2
            fit, over = (middle, over) if epsilon(middle) <= budget else (fit, middle)
        raise BudgetRefused(
            f"dataset {self.dataset!r}: lifetime epsilon {budget} (delta {registered.delta}) does not cover "
            f"{num_queries} more queries at sigma {plan.sigma:.4g}, only {max(0, fit)}; lower evolution.generations or "
            "privacy.epsilon"
        )


class Lease:
    """One attempt's right to append for its run. Each method is one durable entry, or FencedOut."""

    def __init__(self, ledger: Ledger, chain: Chain, run: str, plan: NoisePlan, attempt: int) -> None:
        self.ledger, self.run, self.plan, self.attempt = ledger, run, plan, attempt
        self._chain = chain

    def reserve(self, generation: int, candidates_sha256: str, num_candidates: int, code_version: str) -> Reserved:
        """Charge one query. SlotsExhausted or BudgetRefused charge nothing."""
        plan = self.plan
        with self._chain.locked() as chain:
            slots = self._slots(chain)
            if any(slot.reserved.generation == generation and not slot.burned for slot in slots):
                raise LedgerError(f"generation {generation} of run {self.run!r} is already reserved")
            if len(slots) >= plan.slots:
                raise SlotsExhausted(f"run {self.run!r} has made all {plan.slots} queries that it was planned for")
            reserved = Reserved(
                run=self.run,
                generation=generation,
                attempt=self.attempt,
                slot=len(slots),
                votes_per_record=plan.votes_per_record,
                sigma=plan.sigma,
                candidates_sha256=candidates_sha256,
                num_candidates=num_candidates,
                code_version=code_version,
                epsilon_after=self.ledger.epsilon_with(chain.entries, plan, 1),
            )
            chain.append(reserved)
        return reserved

    def burn(self, reserved: Reserved, reason: str) -> None:
        """Give the reservation up for good; its charge stays."""
        with self._chain.locked() as chain:
            self._open_slot(chain, reserved)
            chain.append(Burned(self.run, reserved.generation, reserved.slot, reason))

    def commit(self, reserved: Reserved, artifact_sha256: str) -> None:
        """Name the reservation's one histogram, whose artifact is already on disk."""
        with self._chain.locked() as chain:
            self._open_slot(chain, reserved)
            chain.append(Committed(self.run, reserved.generation, reserved.slot, artifact_sha256))

    def release(self, reserved: Reserved) -> None:
        """Let selection read the committed histogram. Doing it again changes nothing."""
        with self._chain.locked() as chain:
            slot = self._slots(chain)[reserved.slot]
            if slot.artifact_sha256 is None:
                raise LedgerError(f"slot {reserved.slot} of run {self.run!r} has no committed histogram to release")
            if not slot.released:
                chain.append(Released(self.run, reserved.generation, reserved.slot, slot.artifact_sha256))

    def check_open(self, reserved: Reserved) -> None:
        """LedgerError unless the reservation is still open; FencedOut if a later attempt has taken the run."""
        with self._chain.locked() as chain:
            self._open_slot(chain, reserved)

    def _slots(self, chain: LockedChain) -> list[Slot]:
        latest = len(_openings(chain.entries, self.run))
        if latest != self.attempt:
            raise FencedOut(
                f"run {self.run!r} was taken over by attempt {latest}; this one (attempt {self.attempt}) stops"
            )
        return slots_of(chain.entries, self.run)

    def _open_slot(self, chain: LockedChain, reserved: Reserved) -> None:
        slots = self._slots(chain)
        if reserved.slot >= len(slots) or slots[reserved.slot].reserved != reserved or not slots[reserved.slot].open:
            raise LedgerError(f"slot {reserved.slot} of run {self.run!r} is not an open reservation")


def _openings(entries: Sequence[Entry], run: str) -> list[Opened]:
    return [entry.event for entry in entries if isinstance(entry.event, Opened) and entry.event.run == run]


def _shown(lifetime_epsilon: float | None) -> str:
    return "no limit" if lifetime_epsilon is None else str(lifetime_epsilon)
