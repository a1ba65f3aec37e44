"""`spti ledger show|verify`: a ledger for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from spti_ray.dp.accounting import pld_epsilon
from spti_ray.dp.chain import IncompleteTail, verify
from spti_ray.dp.entries import Burned, Entry, Registered, Reserved

_SHORT = 12
_LONG_HEX = 40


def show_lines(path: Path) -> Iterator[str]:
    """The entries, one line each, then the spend. Raises LedgerError if the chain is broken."""
    note = ""
    try:
        entries = verify(path)
    except IncompleteTail as incomplete:
        entries, note = incomplete.entries, str(incomplete)
    yield f"{path}"
    for entry in entries:
        details = ", ".join(f"{key} {_shown(value)}" for key, value in asdict(entry.event).items())
        yield f"{entry.seq:>5}  {entry.time}  {entry.kind:<10}  {details}"
    yield spend_line(entries)
    if note:
        yield f"note: {note}"


def verify_line(path: Path, head: str | None = None) -> str:
    """One line that says that the chain is whole. Raises LedgerError if it is not."""
    try:
        entries = verify(path, head)
    except IncompleteTail as incomplete:
        return f"{path}: ok, {len(incomplete.entries)} entries; {incomplete}"
    return f"{path}: ok, {len(entries)} entries, head {entries[-1].hash if entries else '-'}"


def spend_line(entries: list[Entry]) -> str:
    """What the dataset has spent over all runs."""
    registered = next((entry.event for entry in entries if isinstance(entry.event, Registered)), None)
    charges = [entry.event for entry in entries if isinstance(entry.event, Reserved)]
    burned = sum(isinstance(entry.event, Burned) for entry in entries)
    if registered is None:
        return "spent: nothing (no dataset is registered)"
    spent = pld_epsilon([(charge.sigma, charge.votes_per_record) for charge in charges], registered.delta)
    limit = f"of {registered.lifetime_epsilon:g}" if registered.lifetime_epsilon else "(no lifetime budget)"
    return (
        f"spent: epsilon {spent:.4f} {limit} at delta {registered.delta:g}, {len(charges)} queries, {burned} of them "
        f"burned, by {len({charge.run for charge in charges})} run(s) on dataset {registered.dataset}"
    )


def _shown(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text[:_SHORT] + "…" if len(text) >= _LONG_HEX else text
