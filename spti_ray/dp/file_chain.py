"""A chain in a local file. Rule held here: reading, deciding and writing happen under one exclusive lock (`flock`).

One JSON line per entry, on disk (fsync) before `append` returns.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spti_ray.dp.chain import (
    Decide,
    LedgerError,
    Reading,
    check_contains,
    check_link,
    decode_next,
    head_of,
    next_line,
)
from spti_ray.dp.entries import GENESIS, Entry, Event, decode
from spti_ray.io.files import fsync_folder

Tail = Literal["whole", "no newline", "torn"]


class IncompleteTail(LedgerError):
    """A crash left the last line half-written. Nobody relied on it, and the next append removes it.

    `entries` are the intact ones before it.
    """

    def __init__(self, message: str, entries: list[Entry]) -> None:
        super().__init__(message)
        self.entries = entries


def verify(path: str | Path, head: str | None = None) -> list[Entry]:
    """Read the ledger file and check every hash. Writes nothing.

    Args:
        head: a hash that the chain must contain, such as a certificate's; it reveals a chain that was cut back.

    Raises:
        LedgerError: names the first bad line.
        IncompleteTail: the chain is intact but for a half-written last line.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # never look at a line while it is being written
            data = file.read()
    except OSError as error:
        raise LedgerError(f"can't read ledger {path}: {error.strerror}") from None
    entries, _, tail = _parse(data, path)
    if head is not None:
        check_contains(entries, head, str(path))
    if tail == "torn":
        message = (
            f"ledger {path} line {len(entries) + 1} is incomplete (a crash while writing); the next run removes it"
        )
        raise IncompleteTail(message, entries)
    return entries


@dataclass
class FileChain:
    """The chain in the file `path`; for the methods see `Chain`.

    Remembers the last head that it saw, and refuses a file that no longer contains it.
    """

    path: Path
    _seen: str = field(default=GENESIS, repr=False)
    _name_is_durable: bool = field(default=False, repr=False)

    @property
    def location(self) -> str:
        return str(self.path)

    def read(self) -> Reading:
        seen = self._seen  # before reading: another thread may append meanwhile
        reading = Reading([])
        if self.path.exists():
            try:
                reading = Reading(verify(self.path))
            except IncompleteTail as incomplete:
                reading = Reading(incomplete.entries, str(incomplete))
        check_contains(reading.entries, seen, self.location)
        self._seen = reading.head
        return reading

    def append(self, decide: Decide) -> list[Entry]:
        with self._locked() as locked:
            event = decide(locked.entries)
            if event is not None:
                locked.append(event)
            return locked.entries

    @contextmanager
    def _locked(self) -> Generator[_Locked]:
        """Hold the exclusive lock. Creates the file when there is none."""
        try:
            if not self._name_is_durable:
                self._create()
            # A descriptor of its own for each use: flock then also keeps out other threads of this process.
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(f"can't open ledger {self.path}: {error.strerror}; ledger.path says where") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            entries, length, tail = _parse(_read(fd), self.path)
            check_contains(entries, self._seen, self.location)
            locked = _Locked(self.path, fd, entries, length, tail)
            yield locked
            self._seen = head_of(locked.entries)
        finally:
            os.close(fd)  # releases the lock

    def _create(self) -> None:
        """Make the file and its name durable. Each program does so once: the one that made it may have crashed here."""
        new_folders = [folder for folder in self.path.parents if not folder.exists()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        for path in (self.path, *new_folders):
            fsync_folder(path.parent)
        self._name_is_durable = True


@dataclass
class _Locked:
    """The file while its lock is held."""

    path: Path
    fd: int
    entries: list[Entry]
    length: int
    """Bytes of the file up to the end of the last intact entry."""
    tail: Tail

    def append(self, event: Event) -> None:
        """Write one entry and return once it is on disk. LedgerError leaves the file as it was."""
        line = next_line(self.entries, event)
        data = (b"\n" if self.tail == "no newline" else b"") + line + b"\n"
        try:
            if self.tail == "torn":
                # A crash cut the last append short. That append had not returned, so no vote was cast and nothing
                # released because of it, and removing it loses nothing. No other damage is ever repaired.
                os.ftruncate(self.fd, self.length)
            _write(self.fd, data, self.length)
            os.fsync(self.fd)
        except OSError as error:
            self._cut_back()
            raise LedgerError(f"can't write ledger {self.path}: {error.strerror}; nothing was recorded") from None
        self.entries.append(decode(line))

    def _cut_back(self) -> None:
        """Remove what a failed append may have left. If that fails too, the next append finds a torn tail."""
        try:
            os.ftruncate(self.fd, self.length)
            os.fsync(self.fd)
        except OSError:
            pass


def _parse(data: bytes, path: Path) -> tuple[list[Entry], int, Tail]:
    """Entries of the file, the length in bytes of the intact part, and the state of its last line."""
    *lines, rest = data.split(b"\n")
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        entries.append(decode_next(line, entries, f"ledger {path} line {number}"))
    length = len(data) - len(rest)
    if not rest:
        return entries, length, "whole"
    try:
        entry = decode(rest)
    except ValueError:
        return entries, length, "torn"
    # Whole but for its newline, which an editor may have removed. It is kept: somebody may have relied on the charge.
    check_link(entry, entries, f"ledger {path} line {len(entries) + 1}")
    return [*entries, entry], len(data), "no newline"


def _read(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()


def _write(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`; a disk that fills up midway raises OSError."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
