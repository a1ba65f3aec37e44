"""Where a chain can be kept, behind one face, so that what every chain promises is tested on each kind."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import obstore
from obstore.store import ObjectStore

from spti_ray.dp.chain import Chain
from spti_ray.dp.entries import (
    GENESIS,
    Burned,
    Committed,
    Event,
    Opened,
    Registered,
    Released,
    Reserved,
    decode,
    encode,
)
from spti_ray.dp.object_chain import ObjectChain
from spti_ray.dp.object_store import open_store
from spti_ray.dp.storage import open_chain
from tests.unit.dp.buckets import use_buckets

DATASET = "ds"

EVENTS: list[Event] = [
    Registered("ds", 4.0, 1e-5),
    Opened("r", 1, "host", 7, 3.5, 1, 2, 0, 1.0, 1e-5, "cc", "noise", True),
    Reserved("r", 0, 1, 0, 1, 3.5, "ab", 4, "v0", 0.5),
    Committed("r", 0, 0, "ef"),
    Released("r", 0, 0, "ef"),
    Burned("r", 1, 1, "crash"),
]
"""One of each kind that a run leaves."""
OURS, THEIRS = Burned("r", 1, 1, "ours"), Burned("r", 2, 2, "theirs")


def lines_of(events: list[Event]) -> list[bytes]:
    """A valid chain of these events, as somebody who knows the format could write it."""
    prev, lines = GENESIS, []
    for seq, event in enumerate(events):
        lines.append(encode(seq, prev, "2026-01-01T00:00:00.000+00:00", event))
        prev = decode(lines[-1]).hash
    return lines


class Book(Protocol):
    """One dataset's chain, and its raw content for tests that tamper with it."""

    location: str | Path
    """What `ledger.path` would say."""

    def lines(self) -> list[bytes]: ...

    def rewrite(self, lines: list[bytes]) -> None:
        """Make these lines the whole content, as somebody with all rights could."""
        ...

    def named(self, seq: int) -> str:
        """How messages name an entry (as a regular expression)."""
        ...


@dataclass
class FileBook:
    location: Path

    @property
    def path(self) -> Path:
        return self.location / f"{DATASET}.jsonl"

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines() if self.path.exists() else []

    def rewrite(self, lines: list[bytes]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"".join(line + b"\n" for line in lines))

    def named(self, seq: int) -> str:
        return f"ds.jsonl line {seq + 1}"


class ObjectBook:
    def __init__(self, url: str) -> None:
        self.location = url
        self.store = open_store(url)

    def names(self) -> list[str]:
        return sorted(meta["path"] for meta in obstore.list(self.store).collect())

    def lines(self) -> list[bytes]:
        return [bytes(obstore.get(self.store, name).bytes()) for name in self.names()]

    def rewrite(self, lines: list[bytes]) -> None:
        for name in self.names()[len(lines) :]:
            obstore.delete(self.store, name)
        before = self.lines()
        for seq, line in enumerate(lines):
            if line not in before[seq : seq + 1]:
                obstore.put(self.store, f"{DATASET}/{seq:012d}.json", line)

    def named(self, seq: int) -> str:
        return f"ds/{seq:012d}.json"


def chain_in(book: Book) -> Chain:
    """The chain as a program that has just started would open it."""
    return open_chain(book.location, DATASET)


def chain_of(store: ObjectStore) -> ObjectChain:
    """A chain in any store, such as one in this process's memory."""
    return ObjectChain(store, DATASET, "memory://")


def append_all(chain: Chain, events: list[Event]) -> None:
    for event in events:
        chain.append(lambda entries, event=event: event)


def append_burned(location: str | Path, num: int) -> None:
    """What one of several writers does: `num` entries, marked with its process id."""
    use_buckets()
    chain = open_chain(location, DATASET)
    for i in range(num):
        chain.append(lambda entries, i=i: Burned(f"r{os.getpid()}", i, i, "x"))
