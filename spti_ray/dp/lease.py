"""Leases: the right of one driver to append for its run. Rules held here: one driver at a time, charge before votes.

A later attempt at a run fences out the earlier ones, since each append is decided on the chain's newest entries, in one
step with the append itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from spti_ray.dp.budget import check_next_query
from spti_ray.dp.calibration import NoisePlan
from spti_ray.dp.chain import Chain, LedgerError
from spti_ray.dp.entries import Burned, Committed, Entry, Event, Released, Reserved
from spti_ray.dp.history import Slot, attempts_of, slots_of


class FencedOut(LedgerError):
    """A later attempt has taken over the run; this driver must stop."""


class SlotsExhausted(LedgerError):
    """The run has made all the queries it was planned for."""


class Lease:
    """One attempt's right to append for its run.

    Each method that appends returns once its entry is durable, and raises FencedOut if a later attempt took the run.

    Args:
        plan: the noise by which the run goes on; a resumed run keeps its recorded sigma.
        attempt: its number, from 1.
        note: a line for people about a resumed run's noise; empty if there is nothing to say.
    """

    def __init__(self, chain: Chain, run: str, plan: NoisePlan, attempt: int, note: str = "") -> None:
        self.chain, self.run, self.plan, self.attempt, self.note = chain, run, plan, attempt, note

    def reserve(self, generation: int, candidates_sha256: str, num_candidates: int, code_version: str) -> Reserved:
        """Charge one query.

        Raises:
            SlotsExhausted: the run has made all its queries; nothing was charged.
            BudgetRefused: the dataset's budget does not cover it; nothing was charged.
            LedgerError: the generation has an open or committed reservation already.
        """
        plan = self.plan

        def decide(entries: Sequence[Entry]) -> Event:
            slots = self._slots(entries)
            if any(slot.reserved.generation == generation and not slot.burned for slot in slots):
                raise LedgerError(f"generation {generation} of run {self.run!r} is already reserved")
            if len(slots) >= plan.slots:
                raise SlotsExhausted(f"run {self.run!r} has made all {plan.slots} queries that it was planned for")
            return Reserved(
                run=self.run,
                generation=generation,
                attempt=self.attempt,
                slot=len(slots),
                votes_per_record=plan.votes_per_record,
                sigma=plan.sigma,
                candidates_sha256=candidates_sha256,
                num_candidates=num_candidates,
                code_version=code_version,
                epsilon_after=check_next_query(entries, self.run, plan),
            )

        reserved = self.chain.append(decide)[-1].event
        assert isinstance(reserved, Reserved)
        return reserved

    def burn(self, reserved: Reserved, reason: str) -> None:
        """Give up an open reservation for good; its charge stays."""
        self._settle(reserved, Burned(self.run, reserved.generation, reserved.slot, reason))

    def commit(self, reserved: Reserved, artifact_sha256: str) -> None:
        """Record the reservation's one histogram, whose file is already on disk."""
        self._settle(reserved, Committed(self.run, reserved.generation, reserved.slot, artifact_sha256))

    def release(self, reserved: Reserved) -> None:
        """Record that selection may read the committed histogram. A second time changes nothing."""

        def decide(entries: Sequence[Entry]) -> Event | None:
            slot = self._slots(entries)[reserved.slot]
            if slot.artifact_sha256 is None:
                raise LedgerError(f"slot {reserved.slot} of run {self.run!r} has no committed histogram to release")
            if slot.released:
                return None
            return Released(self.run, reserved.generation, reserved.slot, slot.artifact_sha256)

        self.chain.append(decide)

    def check_open(self, reserved: Reserved) -> None:
        """LedgerError unless the reservation is still open; FencedOut if a later attempt has taken the run."""
        self._open_slot(self.chain.read().entries, reserved)

    def _settle(self, reserved: Reserved, event: Event) -> None:
        """Append the outcome of an open reservation."""

        def decide(entries: Sequence[Entry]) -> Event:
            self._open_slot(entries, reserved)
            return event

        self.chain.append(decide)

    def _slots(self, entries: Sequence[Entry]) -> list[Slot]:
        latest = len(attempts_of(entries, self.run))
        if latest != self.attempt:
            raise FencedOut(
                f"run {self.run!r} was taken over by attempt {latest}; this one (attempt {self.attempt}) stops"
            )
        return slots_of(entries, self.run)

    def _open_slot(self, entries: Sequence[Entry], reserved: Reserved) -> None:
        slots = self._slots(entries)
        if reserved.slot >= len(slots) or slots[reserved.slot].reserved != reserved or not slots[reserved.slot].open:
            raise LedgerError(f"slot {reserved.slot} of run {self.run!r} is not an open reservation")
