"""An append-only, hash-chained file of ledger entries: one JSON line each, written under an exclusive lock.

Promises: an entry that `append` returned is on disk (fsync) and every reader that verifies the chain finds it, in
place and unaltered, or finds an error. Not promised: a chain cut back by whole lines from its end still verifies by
itself; compare it with a head hash kept elsewhere (the certificate's, or a live `Chain`'s, which remembers its last).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from spti_ray.dp.entries import GENESIS, Entry, Event, decode, encode
from spti_ray.files import fsync_folder

Tail = Literal["whole", "no newline", "torn"]


class LedgerError(RuntimeError):
    """The ledger can't be trusted, read or written; one line says where and what to do."""


class IncompleteTail(LedgerError):
    """The last line is half-written by a crash. Nobody relied on it; the next append removes it.

    `entries` are the intact ones before it.
    """

    def __init__(self, message: str, entries: list[Entry]) -> None:
        super().__init__(message)
        self.entries = entries


def verify(path: str | Path, head: str | None = None) -> list[Entry]:
    """All entries of the ledger file, with every hash checked. Writes nothing.

    `head` is a hash that the chain must contain, such as a certificate's: it shows a chain that was cut back.
    LedgerError names the first bad line; IncompleteTail reports a half-written last line of an intact chain.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # never look at a line while it is being written
            data = file.read()
    except OSError as error:
        raise LedgerError(f"can't read ledger {path}: {error.strerror}") from None
    entries, _, tail = _parse(data, path)
    if head is not None and head not in {entry.hash for entry in entries}:
        raise LedgerError(f"ledger {path} does not contain the expected head {head[:12]}: it was cut back or replaced")
    if tail == "torn":
        message = (
            f"ledger {path} line {len(entries) + 1} is incomplete (a crash while writing); the next run removes it"
        )
        raise IncompleteTail(message, entries)
    return entries


@dataclass
class LockedChain:
    """The chain while its lock is held: verified `entries`, and `append`."""

    path: Path
    fd: int
    entries: list[Entry]
    length: int
    """Bytes of the file up to the end of the last intact entry."""
    tail: Tail

    @property
    def head(self) -> str:
        return self.entries[-1].hash if self.entries else GENESIS

    def append(self, event: Event) -> Entry:
        """Write one entry and return once it is on disk. LedgerError leaves the file as it was."""
        line = encode(len(self.entries), self.head, datetime.now(UTC).isoformat(timespec="milliseconds"), event)
        data = (b"\n" if self.tail == "no newline" else b"") + line + b"\n"
        try:
            if self.tail == "torn":
                # A crash cut the last append short. It had not returned, so no vote was cast and nothing was released
                # on its strength; removing it loses nothing. Anything else that is wrong is never repaired.
                os.ftruncate(self.fd, self.length)
            _write(self.fd, data, self.length)
            os.fsync(self.fd)
            if not self.entries:
                fsync_folder(self.path.parent)
        except OSError as error:
            self._cut_back()
            raise LedgerError(f"can't write ledger {self.path}: {error.strerror}; nothing was recorded") from None
        self.length += len(data)
        self.tail = "whole"
        self.entries.append(decode(line))
        return self.entries[-1]

    def _cut_back(self) -> None:
        """Drop what a failed append may have left. If even that fails, it is a torn tail for the next one."""
        try:
            os.ftruncate(self.fd, self.length)
            os.fsync(self.fd)
        except OSError:
            pass
        self.tail = "torn"


@dataclass
class Chain:
    """A ledger file. Remembers the last head it saw, and refuses a file that no longer contains it."""

    path: Path
    _seen: str = field(default=GENESIS, repr=False)

    @contextmanager
    def locked(self) -> Generator[LockedChain]:
        """Hold the exclusive lock: read, decide and append as one step. Creates the file when there is none."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A descriptor of its own for each use: flock then also keeps out other threads of this process.
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(f"can't open ledger {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            data = _read(fd)
            entries, length, tail = _parse(data, self.path)
            if self._seen != GENESIS and self._seen not in {entry.hash for entry in entries}:
                raise LedgerError(f"ledger {self.path} was cut back or replaced while in use; restore it")
            chain = LockedChain(self.path, fd, entries, length, tail)
            yield chain
            self._seen = chain.head
        finally:
            os.close(fd)  # releases the lock


def _parse(data: bytes, path: Path) -> tuple[list[Entry], int, Tail]:
    """Entries of the file, the length in bytes of the intact part, and the state of its last line."""
    *lines, rest = data.split(b"\n")
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = decode(line)
        except ValueError as error:
            raise LedgerError(f"ledger {path} line {number} {error}; restore the file from a copy") from None
        _check_link(entry, entries, path)
        entries.append(entry)
    length = len(data) - len(rest)
    if not rest:
        return entries, length, "whole"
    try:
        entry = decode(rest)
    except ValueError:
        return entries, length, "torn"
    # Whole but for its newline: kept, because dropping it could drop a charge that somebody relied on (an editor may
    # have stripped the newline).
    _check_link(entry, entries, path)
    return [*entries, entry], len(data), "no newline"


def _check_link(entry: Entry, before: list[Entry], path: Path) -> None:
    prev = before[-1].hash if before else GENESIS
    if entry.seq != len(before) or entry.prev != prev:
        raise LedgerError(
            f"ledger {path} line {len(before) + 1} does not follow the line before it: lines were dropped, "
            "inserted or reordered; restore the file from a copy"
        )


def _read(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()


def _write(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`; a disk that fills up midway raises OSError."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
