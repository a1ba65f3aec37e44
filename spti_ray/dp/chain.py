"""Chains: the append-only storage of a ledger. Rule held here: no entry is altered, dropped or reordered unnoticed.

Each entry holds the hash of the one before. Every `Chain` promises:

- An entry is durable once `append` returns; every later reader finds it in place and unaltered, or gets an error.
- Deciding on an entry and appending it is one step: no other entry comes between what the decision read and what it
  wrote.

Not promised: a chain whose last entries were all cut off still verifies by itself. Compare it with a head hash that is
kept elsewhere, such as a certificate's. A `Chain` object remembers the last head that it saw.

`FileChain` is a local file, `ObjectChain` one create-only object per entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from spti_ray.dp.entries import GENESIS, Entry, Event, decode, encode

Decide = Callable[[Sequence[Entry]], Event | None]
"""From the verified entries to the event to append, or None. It may be called again, so it must have no effects."""


class LedgerError(RuntimeError):
    """The ledger can't be trusted, read or written; one line says where and what to do."""


@dataclass(frozen=True)
class Reading:
    """The intact entries, with every hash checked. `note` tells people if a crash left a half-written entry."""

    entries: list[Entry]
    note: str = ""

    @property
    def head(self) -> str:
        """The last entry's hash."""
        return head_of(self.entries)


class Chain(Protocol):
    """The chain of one dataset."""

    @property
    def location(self) -> str:
        """Where it is, for people: a path or a URL."""
        ...

    def read(self) -> Reading:
        """Read and verify all entries; none if there is no chain yet. Writes nothing.

        Raises:
            LedgerError: the chain is broken or was cut back.
        """
        ...

    def append(self, decide: Decide) -> list[Entry]:
        """Read, decide and append as one step.

        What `decide` raises is passed on, and nothing is written.

        Returns:
            All entries, the new one last, once it is durable.

        Raises:
            LedgerError: the chain is broken, was cut back since this object last read it, or can't be written.
        """
        ...


def head_of(entries: Sequence[Entry]) -> str:
    """The last entry's hash, which the next entry must name; `GENESIS` for no entries."""
    return entries[-1].hash if entries else GENESIS


def next_line(entries: Sequence[Entry], event: Event) -> bytes:
    """The line of `event` as the entry after `entries`, stamped with the current time; without newline."""
    return encode(len(entries), head_of(entries), datetime.now(UTC).isoformat(timespec="milliseconds"), event)


def decode_next(line: bytes, before: Sequence[Entry], where: str) -> Entry:
    """Parse a line that must follow the entries `before`.

    Raises:
        LedgerError: the line is damaged or does not follow; one line that starts with `where`.
    """
    try:
        entry = decode(line)
    except ValueError as error:
        raise LedgerError(f"{where} {error}; restore it from a copy") from None
    check_link(entry, before, where)
    return entry


def check_link(entry: Entry, before: Sequence[Entry], where: str) -> None:
    """Raise LedgerError unless `entry` names the hash of the last of `before`."""
    if entry.seq != len(before) or entry.prev != head_of(before):
        raise LedgerError(
            f"{where} does not follow the one before it: entries were dropped, inserted or reordered; restore the "
            "ledger from a copy"
        )


def check_contains(entries: Sequence[Entry], head: str, location: str) -> None:
    """Raise LedgerError unless the chain contains `head`, a hash that was kept elsewhere."""
    if head != GENESIS and head not in {entry.hash for entry in entries}:
        raise LedgerError(
            f"ledger {location} does not contain the expected head {head[:12]}: it was cut back or replaced"
        )
