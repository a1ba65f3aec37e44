"""What the `spti ledger` commands print of a ledger, and its anchor: a copy of its head, to be kept elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spti_ray.config.parsing import parse_json
from spti_ray.dp.chain import Chain, LedgerError, Reading, check_contains
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import attempts_of, find_registration, history, is_check, slots_of, unprotected_runs
from spti_ray.dp.joint_guarantee import joint_guarantee, recorded_plan
from spti_ray.dp.ledger import Ledger, record_evaluation
from spti_ray.dp.odometer import lifetime_spent
from spti_ray.dp.storage import chains_at
from spti_ray.figures import at_least
from spti_ray.io.files import write_atomic
from spti_ray.io.text_table import Column, text_table

ANCHOR_FORMAT = "spti-ray ledger anchor 1"
_SHORT = 12
_LONG_HEX = 40


_RUN = Column("run", min_width=16)
_HISTORY = (
    *(_RUN, Column("opened (UTC)", min_width=19), Column("epsilon", is_number=True, min_width=8)),
    *(Column("delta", is_number=True, min_width=7), Column("sigma", is_number=True, min_width=7)),
    *(Column("k", is_number=True), Column("queries", min_width=20), Column("spent", is_number=True, min_width=8)),
    Column(),
)


def the_chain(location: str) -> Chain:
    """The one ledger at a path or URL.

    Raises:
        LedgerError: there are several, or there is none.
    """
    found = chains_at(location)
    if len(found) > 1:
        raise LedgerError(f"{location} holds {len(found)} ledgers; name one: {found[0].location}, ...")
    return found[0]


def register_line(location: str, dataset: str, budget: float | None, delta: float) -> str:
    """Register a dataset, or find that it is registered already with the same budget.

    Args:
        location: folder or URL of the ledgers.
        dataset: its id.
        budget: the lifetime epsilon; None for no limit.
        delta: at which the budget holds.

    Returns:
        One line that says which of both it was.

    Raises:
        LedgerError: it is registered with another budget.
    """
    ledger = Ledger(location, dataset)
    known = bool(ledger.entries())
    registered = ledger.register(budget, delta)
    limit = "no limit" if registered.lifetime_epsilon is None else f"epsilon {registered.lifetime_epsilon:g}"
    was = "was registered already" if known else "is registered"
    return f"dataset {dataset} {was} in {ledger.location}: {limit} at delta {registered.delta:g} over all runs"


def evaluated_line(location: str, run: str, metric: str) -> str:
    """Record that somebody looked at `run` with a metric on the private images; one line that says where.

    Raises:
        LedgerError: there is no one ledger at `location`, or it does not know the run.
    """
    chain = the_chain(location)
    record_evaluation(chain, run, metric)
    return f"recorded in {chain.location}; spti audit DIR writes it into a finished run's certificate"


def show_lines(chain: Chain) -> Iterator[str]:
    """The entries, one line each, then what the dataset has spent.

    Raises:
        LedgerError: the chain is broken.
    """
    reading = chain.read()
    yield chain.location
    for entry in reading.entries:
        details = ", ".join(f"{key} {_shown(value)}" for key, value in asdict(entry.event).items())
        yield f"{entry.seq:>5}  {entry.time}  {entry.kind:<10}  {details}"
    yield spend_line(reading.entries)
    if reading.note:
        yield f"note: {reading.note}"


def history_lines(chain: Chain) -> Iterator[str]:
    """One line per run, one per look at images that were not released, then what the dataset has spent.

    Raises:
        LedgerError: the chain is broken.
    """
    entries = chain.read().entries
    yield chain.location
    # Figures of each run's own queries. A release of a run that goes on from another depends on both: see its marks.
    rows: list[list[str]] = []
    for run in history(entries):
        queries = f"{run.queries_charged} of {run.queries_planned}" + (f", {run.burned} burned" if run.burned else "")
        marks = ["NOT PRIVATE: simulated noise"] if not run.private else []
        if run.origin and (both := joint_guarantee(entries, run.run, recorded_plan(attempts_of(entries, run.run)[0]))):
            marks.append(f"goes on from {run.origin}: its release has epsilon {at_least(both.epsilon)}")
        marks += [f"looked at: {', '.join(run.evaluated_by)}"] if run.evaluated_by else []
        figures = [at_least(run.epsilon), at_least(run.delta), f"{run.sigma:.4g}", str(run.votes_per_record)]
        spent = [queries, at_least(run.epsilon_spent), "; ".join(marks)]
        rows.append([run.run, run.first_opened[:19], *figures, *spent])
    yield from text_table(_HISTORY, rows)
    unopened = (
        [look.run, "not run yet" if is_check(look) else "charged nothing, not released", look.metric]
        for look in unprotected_runs(entries)
    )
    yield from text_table((Column(min_width=_RUN.min_width), Column(), Column()), unopened)
    yield spend_line(entries)


def verify_line(chain: Chain, head: str | None = None, anchor: Path | None = None) -> str:
    """Check every hash of a chain and that each run's slots are in order.

    Args:
        chain: the ledger.
        head: a hash that must be in it.
        anchor: a file of `write_anchor`, whose head must be in it, at the same place.

    Returns:
        One line that says that the chain is whole, and its head.

    Raises:
        LedgerError: something of it does not hold.
    """
    reading = chain.read()
    unopened = {look.run for look in unprotected_runs(reading.entries)}
    runs = {entry.event.run for entry in reading.entries if hasattr(entry.event, "run")}  # type: ignore[union-attr]
    for run in runs - unopened:
        if not attempts_of(reading.entries, run):
            raise LedgerError(f"ledger {chain.location}: run {run!r} was never opened")
        slots_of(reading.entries, run)
    if head:
        check_contains(reading.entries, head, chain.location)
    if anchor:
        _check_anchor(reading, anchor, chain.location)
    note = f"; {reading.note}" if reading.note else ""
    return f"{chain.location}: ok, {len(reading.entries)} entries, head {reading.head}{note}"


def anchor_of(chain: Chain) -> dict[str, Any]:
    """What is kept elsewhere, so that a ledger that is cut back or replaced later is found out. All of it is public.

    Raises:
        LedgerError: the ledger has no entries yet.
    """
    reading = chain.read()
    registered = find_registration(reading.entries)
    if registered is None:
        raise LedgerError(f"ledger {chain.location} has no entries yet")
    return {
        "format": ANCHOR_FORMAT,
        "dataset": registered.dataset,
        "entries": len(reading.entries),
        "head": reading.head,
        "epsilon_spent": lifetime_spent(reading.entries),
        "lifetime_epsilon": registered.lifetime_epsilon,
        "delta": registered.delta,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_anchor(chain: Chain, path: Path) -> str:
    """Write the anchor as JSON, whole or not at all.

    Returns:
        One line for people.

    Raises:
        LedgerError: the ledger has no entries yet.
    """
    anchor = anchor_of(chain)
    write_atomic(path, json.dumps(anchor, indent=2) + "\n")
    place = f"head {anchor['head'][:_SHORT]}… after {anchor['entries']} entries"
    return f"wrote {path}: {place}; keep it apart from the ledger"


def _check_anchor(reading: Reading, path: Path, location: str) -> None:
    try:
        anchor = parse_json(path.read_text(encoding="utf-8"))
        head, entries, form = anchor["head"], anchor["entries"], anchor["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise LedgerError(f"{path}: not a ledger anchor; write one with spti ledger anchor") from None
    if form != ANCHOR_FORMAT:
        raise LedgerError(f"{path}: an anchor of another format ({form}); this version reads {ANCHOR_FORMAT}")
    check_contains(reading.entries, head, location)
    if reading.entries[entries - 1].hash != head:
        raise LedgerError(f"ledger {location} has the anchor's head {head[:_SHORT]} in another place: it was rewritten")


def spend_line(entries: list[Entry]) -> str:
    """One line: what the dataset has spent over all runs."""
    registered = find_registration(entries)
    if registered is None:
        return "spent: nothing (no dataset is registered)"
    runs = [run for run in history(entries) if run.queries_charged]
    limit = f"of {registered.lifetime_epsilon:g}" if registered.lifetime_epsilon else "(no lifetime budget)"
    spent = f"epsilon {at_least(lifetime_spent(entries))} {limit} at delta {at_least(registered.delta)}"
    queries, burned = sum(run.queries_charged for run in runs), sum(run.burned for run in runs)
    return (
        f"spent: {spent}, {queries} queries, {burned} of them burned, by {len(runs)} run(s) on dataset "
        f"{registered.dataset}"
    )


def _shown(value: object) -> str:
    """A value of an entry; of a long hash only the beginning."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text[:_SHORT] + "…" if len(text) >= _LONG_HEX and " " not in text else text
