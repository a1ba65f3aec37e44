"""What a ledger is kept in: an append-only chain of entries, each with the hash of the one before.

Promises of every `Chain`: an entry that `append` returned is durable, and every reader finds it, in place and
unaltered, or finds an error. Entries are decided on and appended as one step: nobody else's entry comes between what
the decision saw and what it wrote. Not promised: a chain cut back by whole entries from its end still verifies by
itself; compare it with a head hash kept elsewhere (a certificate's, or a live `Chain`'s, which remembers its last).

`FileChain` is a local file, `ObjectChain` one create-only object per entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from spti_ray.dp.entries import GENESIS, Entry, Event, decode, encode

Decide = Callable[[Sequence[Entry]], Event | None]
"""Sees the verified entries and says what to append, or None. It may be asked again, so it has no effects."""


class LedgerError(RuntimeError):
    """The ledger can't be trusted, read or written; one line says where and what to do."""


@dataclass(frozen=True)
class Reading:
    """The intact entries, every hash checked, and a note for people where a crash left something to tidy up."""

    entries: list[Entry]
    note: str = ""

    @property
    def head(self) -> str:
        return head_of(self.entries)


class Chain(Protocol):
    """The chain of one dataset."""

    @property
    def location(self) -> str:
        """Where it is, for people: a path or a URL."""
        ...

    def read(self) -> Reading:
        """All of it, verified; no entries if there is none yet. Writes nothing. LedgerError if it is broken."""
        ...

    def append(self, decide: Decide) -> list[Entry]:
        """Read, decide and append as one step; return all entries, a new one last, once it is durable.

        LedgerError if the chain is broken or was cut back since this object last saw it, or can't be written.
        What `decide` raises goes through, and nothing is written.
        """
        ...


def head_of(entries: Sequence[Entry]) -> str:
    """The last hash: what the next entry must name, and what an auditor keeps elsewhere."""
    return entries[-1].hash if entries else GENESIS


def next_line(entries: Sequence[Entry], event: Event) -> bytes:
    """The line of `event` as the next entry, without newline."""
    return encode(len(entries), head_of(entries), datetime.now(UTC).isoformat(timespec="milliseconds"), event)


def decode_next(line: bytes, before: Sequence[Entry], where: str) -> Entry:
    """The entry of `line`, which must follow `before`; LedgerError in one line that starts with `where` otherwise."""
    try:
        entry = decode(line)
    except ValueError as error:
        raise LedgerError(f"{where} {error}; restore it from a copy") from None
    check_link(entry, before, where)
    return entry


def check_link(entry: Entry, before: Sequence[Entry], where: str) -> None:
    """LedgerError unless `entry` names the hash of the last of `before`."""
    if entry.seq != len(before) or entry.prev != head_of(before):
        raise LedgerError(
            f"{where} does not follow the one before it: entries were dropped, inserted or reordered; restore the "
            "ledger from a copy"
        )


def check_contains(entries: Sequence[Entry], head: str, location: str) -> None:
    """LedgerError unless `head`, a hash kept elsewhere, is in the chain."""
    if head != GENESIS and head not in {entry.hash for entry in entries}:
        raise LedgerError(
            f"ledger {location} does not contain the expected head {head[:12]}: it was cut back or replaced"
        )
