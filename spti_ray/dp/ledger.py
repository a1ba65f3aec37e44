"""The privacy ledger of a dataset. Rule held here: all runs on it are charged in one place, and never refunded.

All runs on a dataset append to the same chain. Each decision (fencing, slots, budget) and the append that it allows are
one step. A charge is made at RESERVED; a burned reservation stays paid for.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.budget import Forecast, check_rest_of_run, forecast
from spti_ray.dp.calibration import NoisePlan, check_registrable
from spti_ray.dp.chain import Chain, LedgerError
from spti_ray.dp.entries import Entry, Evaluated, Event, Opened, Registered
from spti_ray.dp.history import attempts_of, find_registration, unprotected_runs
from spti_ray.dp.holdout import fix_holdout
from spti_ray.dp.lease import Lease
from spti_ray.dp.recorded_noise import resumed_plan
from spti_ray.dp.storage import open_chain


class NotRegistrable(LedgerError):
    """No run could ever be planned under this lifetime budget, so it is not registered."""


class NotRegistered(LedgerError):
    """The dataset is not registered in this ledger."""


class Ledger:
    """The ledger of one dataset.

    Args:
        location: a local folder, or a URL such as `s3://bucket/ledgers`.
        dataset: the dataset's id, under which the ledger is stored.
    """

    def __init__(self, location: str | Path, dataset: str) -> None:
        self.dataset, self._folder = dataset, str(location)
        self._chain = open_chain(location, dataset)

    @property
    def location(self) -> str:
        """Where it is, for people: a path or a URL."""
        return self._chain.location

    def register(self, budget: float | None, delta: float, *, must_exist: bool = False) -> Registered:
        """Register the dataset with its lifetime budget, or check the budget that is registered.

        Args:
            budget: the lifetime epsilon. None means no limit at a first registration, and later whatever is registered.
            delta: of the lifetime budget. It counts at the first registration only.
            must_exist: refuse a first registration, so that a mistyped id does not open a new budget.

        Returns:
            The registration that holds.

        Raises:
            NotRegistered: with `must_exist`, the dataset is not registered.
            NotRegistrable: no run could be planned under this budget; nothing was written.
            LedgerError: the registered budget is another one.
        """

        def decide(entries: Sequence[Entry]) -> Event | None:
            if entries:
                return None
            if must_exist:
                raise NotRegistered(
                    f"dataset {self.dataset!r} is not registered in {self.location}; check dataset.id, or have its "
                    f"administrator run: spti ledger register {self.dataset} --lifetime-epsilon E --delta D --ledger "
                    f"{self._folder}"
                )
            try:
                check_registrable(budget, delta)
            except ValueError as error:
                raise NotRegistrable(f"dataset {self.dataset!r} can't be registered: {error}") from None
            return Registered(self.dataset, budget, delta)

        # Read before any append, so that a mistyped id does not even leave an empty file behind.
        entries = self.entries()
        if not entries:
            decide(entries)
        registered = self._registered(entries or self._chain.append(decide))
        if budget is not None and registered.lifetime_epsilon != budget:
            raise LedgerError(
                f"dataset {self.dataset!r} was registered with lifetime_epsilon {_shown(registered.lifetime_epsilon)}, "
                f"but the configuration says {_shown(budget)}; set dataset.lifetime_epsilon to the registered"
            )
        return registered

    def hold_out(self, share: float, unit: str) -> None:
        """Fix which share of the dataset's units no run uses, or check that it is what was fixed before.

        Raises:
            LedgerError: the dataset is not registered, or its earlier runs held out something else.
        """

        def decide(entries: Sequence[Entry]) -> Event | None:
            self._registered(entries)
            return fix_holdout(entries, self.dataset, share, unit)

        self._chain.append(decide)

    def entries(self) -> list[Entry]:
        """All intact entries, verified; [] before registration."""
        return self._chain.read().entries

    def open_run(
        self,
        run: str,
        plan: NoisePlan,
        config_sha256: str,
        noise: str,
        private: bool,
        unit: str = "record",
        build: str = "",
        origin: str = "",
        outside: str = "",
        holdout: float = 0.0,
    ) -> Lease:
        """Take the run: number this attempt and fence out the earlier ones.

        Args:
            run: the run's id.
            plan: the noise that the configuration asks for; a resumed run keeps its recorded sigma (`recorded_noise`).
            config_sha256, noise, private, unit, build, outside: what the OPENED entry records; see `entries.Opened`.
            origin: the run that this one continues from; empty if none.
            holdout: the share of the units that the run does not use, which `hold_out` has fixed.

        Returns:
            The right to append for the run, with the plan by which it goes on.

        Raises:
            LedgerError: the run was started with another plan, unit or origin, the ledger does not know `origin`, or
                it fixed another holdout.
            BudgetRefused: the queries that the run still plans can't all be paid.
        """
        token = secrets.token_hex(8)

        def decide(entries: Sequence[Entry]) -> Event:
            self._registered(entries)
            self._check_unit(entries, unit)
            if fix_holdout(entries, self.dataset, holdout, unit):
                raise LedgerError(f"dataset {self.dataset!r}: another data.holdout was fixed meanwhile; start again")
            kept, _ = resumed_plan(entries, run, plan)
            _check_origin(entries, run, origin, self.location)
            check_rest_of_run(entries, run, kept)
            return Opened(
                run=run,
                attempt=len(attempts_of(entries, run)) + 1,
                host=socket.gethostname(),
                pid=os.getpid(),
                sigma=kept.sigma,
                votes_per_record=plan.votes_per_record,
                generations=plan.generations,
                spare_slots=plan.spare_slots,
                epsilon=plan.epsilon,
                delta=plan.delta,
                config_sha256=config_sha256,
                noise=noise,
                private=private,
                unit=unit,
                build=build,
                token=token,
                origin=origin,
                outside=outside,
                accountant=ACCOUNTANT,
            )

        entries = self._chain.append(decide)
        opened = entries[-1].event
        assert isinstance(opened, Opened)
        kept, note = resumed_plan(entries[:-1], run, plan)
        return Lease(self._chain, run, kept, opened.attempt, note)

    def _registered(self, entries: Sequence[Entry]) -> Registered:
        registered = find_registration(entries)
        if registered is None:
            raise NotRegistered(f"dataset {self.dataset!r} is not registered in {self.location}; register it first")
        if registered.dataset != self.dataset:
            raise LedgerError(f"ledger {self.location} is of dataset {registered.dataset!r}; it was moved or renamed")
        return registered

    def _check_unit(self, entries: Sequence[Entry], unit: str) -> None:
        """Raise LedgerError if an earlier run protected another unit, since charges for different units do not add up.

        A group's vote may change as a whole when one record is removed, so its query has another sensitivity for
        records.
        """
        known = next((entry.event.unit for entry in entries if isinstance(entry.event, Opened)), unit)
        if unit != known:
            raise LedgerError(
                f"dataset {self.dataset!r}: earlier runs protect each {known}, this one would protect each {unit}, and "
                "one lifetime budget can't hold for both; set privacy.unit and data.group_column as before, or use a "
                "dataset of its own"
            )

    def forecast(self, plan: NoisePlan) -> Forecast | None:
        """What a new run of this plan would do to the budget; None if there is none yet. Writes nothing."""
        entries = self.entries()
        return forecast(entries, plan) if entries else None

    def record_unprotected_run(self, run: str, what: str) -> None:
        """Record, once, that the dataset is used by a run that is not private or not certified.

        Such a run is never opened, charges nothing and makes no release; later certificates list it. So is a look at
        the private images (`history.CHECKED`), which may come before its run is opened. The entry is durable when this
        returns.

        Args:
            what: what the run makes, in words; or the look, with its time.

        Raises:
            LedgerError: the dataset is not registered.
        """
        event = Evaluated(run, what)

        def decide(entries: Sequence[Entry]) -> Event | None:
            self._registered(entries)
            return None if any(entry.event == event for entry in entries) else event

        self._chain.append(decide)


def _check_origin(entries: Sequence[Entry], run: str, origin: str, location: str) -> None:
    """A run that continues from a release adds to what that one revealed, so one ledger must account for both."""
    before = attempts_of(entries, run)
    if before and before[0].origin != origin:
        raise LedgerError(
            f"run {run!r} was started from {before[0].origin or 'no other run'!r}, not {origin or 'none'!r}: change it "
            "back or start a new run"
        )
    if origin and (origin == run or not attempts_of(entries, origin)):
        raise LedgerError(
            f"ledger {location} does not know run {origin!r}, which this one goes on from: ledger.path and dataset.id "
            "must be those of that run"
        )


def record_evaluation(chain: Chain, run: str, metric: str) -> None:
    """Record that somebody saw a metric on the private set for this run; later certificates list it.

    Raises:
        LedgerError: the ledger does not know the run.
    """

    def decide(entries: Sequence[Entry]) -> Event:
        if not attempts_of(entries, run) and run not in {look.run for look in unprotected_runs(entries)}:
            raise LedgerError(f"ledger {chain.location} knows no run {run!r}; see spti ledger history")
        return Evaluated(run, metric)

    chain.append(decide)


def _shown(lifetime_epsilon: float | None) -> str:
    return "no limit" if lifetime_epsilon is None else str(lifetime_epsilon)
