"""What of a dataset no run uses. Rule held here: it is fixed before the first run, and the same for all runs."""

from __future__ import annotations

from collections.abc import Sequence

from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Entry, Evaluated, HeldOut, Opened
from spti_ray.dp.history import is_check


class HoldoutFixed(LedgerError):
    """What a dataset holds out was fixed otherwise by its earlier runs; one line."""


def find_holdout(entries: Sequence[Entry]) -> HeldOut | None:
    """What the ledger says is held out; None if nothing is."""
    said = [entry.event for entry in entries if isinstance(entry.event, HeldOut)]
    return said[-1] if said and said[-1].share else None


def fix_holdout(entries: Sequence[Entry], dataset: str, share: float, unit: str) -> HeldOut | None:
    """The entry that fixes what is held out; None if the ledger says so already.

    Args:
        entries: the ledger's.
        dataset: its id, for the error.
        share: of the units, as a run's `data.holdout` has it.
        unit: the run's privacy unit, as `Opened.unit`.

    Raises:
        HoldoutFixed: earlier runs held out another share, or units of another kind.
    """
    fixed = find_holdout(entries)
    if (share, unit) == ((fixed.share, fixed.unit) if fixed else (0.0, unit)):
        return None
    if not any(_used(entry) for entry in entries):
        return HeldOut(share, unit)  # a run that was refused had said something else
    if fixed is None:
        raise HoldoutFixed(
            f"dataset {dataset!r}: earlier runs used all of its records, so data.holdout can't be {share:g}; leave it "
            "out (spti audit --contamination takes records that never voted by --holdout PATH)"
        )
    raise HoldoutFixed(
        f"dataset {dataset!r}: its runs hold out {fixed.share:g} of the units {fixed.unit}, and this configuration "
        f"{share:g} of the units {unit}; set data.holdout and privacy.unit as they were: what is held out must never "
        "have voted"
    )


def _used(entry: Entry) -> bool:
    """Whether an entry is of a run, and not only of a look by `spti check`."""
    return isinstance(entry.event, Opened) or (isinstance(entry.event, Evaluated) and not is_check(entry.event))
