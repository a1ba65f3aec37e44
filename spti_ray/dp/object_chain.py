"""A chain in an object store (S3 and what speaks its language, Google, Azure): one create-only object per entry.

Entry n of a dataset is `<url>/<dataset>/<n in 12 digits>.json`, its canonical line without newline. Objects are never
replaced or deleted, so creating number n, which only one writer can (`If-None-Match: *`), is a compare-and-swap on
the chain's head: whoever loses reads again and decides again. Listing and reading are strongly consistent in all of
these stores; if a listing were stale, its reader would only lose the race for a number that is taken.

A driver needs the rights to list, get and put; without the right to delete, and with the bucket's versioning or object
lock, not even a stolen driver can undo a charge.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from spti_ray.dp.chain import Decide, LedgerError, Reading, check_contains, decode_next, head_of, next_line
from spti_ray.dp.entries import Entry, decode
from spti_ray.dp.object_store import (
    FAILURES,
    AlreadyExistsError,
    create,
    get,
    open_store,
    reason_of,
    top_level,
    version_tags,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PUTS = 2
"""How often the same entry is sent again after obstore has given up on it."""
_TRIES = 30
"""How often to decide anew when others were quicker; each round, one of them gets on."""
_PAUSE_S = 0.02
"""Mean wait before the second try; it doubles up to 64 times that."""
_READERS = 16

_NAME = re.compile(r"[0-9]{12}\.json")


class ObjectChain:
    """The chain of `dataset` in `store`, whose place is `url` for people. `dataset` is the folder of its objects.

    Keeps the entries that it has verified: a later read lists the names and fetches only what is new, or what the
    store says has changed. It refuses a chain in which any of them is gone or is another. Threads may share it.
    After a fork it refuses to work: the library's threads do not follow into the child, which would hang.
    """

    def __init__(self, store: ObjectStore, dataset: str, url: str) -> None:
        self._store, self._folder = store, dataset
        self._location = f"{url.rstrip('/')}/{dataset}".rstrip("/")
        self._entries: list[Entry] = []
        self._tags: list[str] = []
        self._refuses_twins = False  # whether the store was seen to refuse a second object of one name
        self._lock, self._pid = threading.Lock(), os.getpid()

    @classmethod
    def at(cls, url: str, dataset: str) -> ObjectChain:
        """The chain of `dataset` under `url`, such as s3://bucket/ledgers. Asks the store nothing yet."""
        return cls(open_store(url), dataset, url)

    @property
    def location(self) -> str:
        return self._location

    def read(self) -> Reading:
        with self._alone():
            return Reading(list(self._refresh()))

    def append(self, decide: Decide) -> list[Entry]:
        # What was sent in vain so far, by number. A request that was given up may still be carried out, after others.
        sent: dict[int, list[bytes]] = {}
        with self._alone():
            for retry in range(_TRIES):
                entries = self._refresh()
                if (ours := _first_of(sent, entries)) is not None:
                    return list(entries[: ours + 1])
                event = decide(tuple(entries))
                if event is None:
                    return list(entries)
                lines = sent.setdefault(len(entries), [])
                lines.append(next_line(entries, event))
                made = self._create(len(entries), lines)
                if made is not None:
                    line, tag = made
                    self._entries, self._tags = [*entries, decode(line)], [*self._tags, tag]
                    self._check_store(line)
                    return list(self._entries)
                time.sleep(random.uniform(0, 2 * _PAUSE_S * 2 ** min(retry, 6)))
            entries = self._refresh()
        if (ours := _first_of(sent, entries)) is not None:
            return list(entries[: ours + 1])
        if any(seq >= len(entries) for seq in sent):  # refused as taken, but by nothing that is there
            raise LedgerError(
                f"can't write ledger {self._location}: the store answered {_TRIES} times that another write is under "
                "way; whether the entry was recorded is unknown, and running again settles it"
            )
        raise LedgerError(
            f"can't write ledger {self._location}: others were quicker {_TRIES} times; nothing was recorded, run again"
        )

    def _alone(self) -> threading.Lock:
        if os.getpid() != self._pid:
            raise LedgerError(f"ledger {self._location} was opened before this process was forked; open it anew")
        return self._lock

    def _refresh(self) -> list[Entry]:
        """All entries, verified, as the store has them now; LedgerError names the first object that is wrong."""
        listed = self._listed()
        wanted = [seq for seq, tag in enumerate(listed) if seq >= len(self._tags) or tag != self._tags[seq]]
        lines = dict(zip(wanted, self._fetch(wanted), strict=True))
        entries: list[Entry] = []
        for seq in range(len(listed)):
            if seq not in lines:
                entries.append(self._entries[seq])
                continue
            entry = decode_next(lines[seq], entries, f"ledger {self._path(seq)}")
            if seq < len(self._entries) and entry != self._entries[seq]:
                raise LedgerError(
                    f"ledger {self._path(seq)} was replaced since this program first read it; restore it from a copy"
                )
            entries.append(entry)
        check_contains(entries, head_of(self._entries), self._location)
        self._entries, self._tags = entries, listed
        return entries

    def _listed(self) -> list[str]:
        """The tag of each object, by entry; LedgerError unless their names are 0, 1, 2 and so on."""
        try:
            found = version_tags(self._store, self._folder)
        except FAILURES as error:
            raise LedgerError(f"can't read ledger {self._location}: {reason_of(error)}") from None
        for seq, name in enumerate(found):
            if not _NAME.fullmatch(name.removeprefix(f"{self._folder}/")):
                raise LedgerError(f"ledger {self._location} has a foreign object {name!r}: move it elsewhere")
            if name != self._name(seq):
                raise LedgerError(f"ledger {self._path(seq)} is missing; restore it from a copy")
        return list(found.values())

    def _fetch(self, seqs: Sequence[int]) -> Iterable[bytes]:
        if len(seqs) <= 1:
            return [self._get(seq) for seq in seqs]
        with ThreadPoolExecutor(min(_READERS, len(seqs))) as readers:
            return list(readers.map(self._get, seqs))

    def _get(self, seq: int) -> bytes:
        try:
            return get(self._store, self._name(seq))
        except FileNotFoundError:
            raise LedgerError(f"ledger {self._path(seq)} is missing; restore it from a copy") from None
        except FAILURES as error:
            raise LedgerError(f"can't read ledger {self._path(seq)}: {reason_of(error)}") from None

    def _create(self, seq: int, lines: Sequence[bytes]) -> tuple[bytes, str] | None:
        """Make the object of entry `seq` from the last of `lines`, of which the others were sent before.

        Returns which of them it holds, and its tag, once durable; None if the number is another writer's, or if the
        store says that it is taken and does not show by what.
        """
        reason = ""
        for again in range(_PUTS):
            try:
                try:
                    # Sending the same bytes again can't record them twice: the name is taken after the first time.
                    return lines[-1], create(self._store, self._name(seq), lines[-1])
                except AlreadyExistsError:
                    held = self._held(seq)
                    return (held, "") if held is not None and held in lines else None
            except FAILURES as error:
                reason = reason_of(error)
            if again + 1 < _PUTS:
                time.sleep(random.uniform(0, 10 * _PAUSE_S))
        raise LedgerError(
            f"can't write ledger {self._path(seq)}: {reason}; whether the entry was recorded is unknown, and running "
            "again settles it"
        )

    def _held(self, seq: int) -> bytes | None:
        """What the object holds that is already there: perhaps our very entry, whose answer was lost.

        Equal bytes are nobody else's. OPENED carries a random token. What a driver appends for its run names a slot
        or generation of that run, and decisions let only the attempt with the latest OPENED append it, from one chain
        object, one entry at a time. Two REGISTERED or EVALUATED may be equal, of two people in one millisecond: both
        said the same, it is recorded once, and it is true for both.

        None if there is none: S3 also refuses with "conflict" while another create is under way. That may be our own of
        before, and be done later, or fail.
        """
        try:
            return get(self._store, self._name(seq))
        except FileNotFoundError:
            return None

    def _check_store(self, line: bytes) -> None:
        """Once, after the first append: LedgerError if this store lets a second object take a name that is taken.

        Some servers ignore If-None-Match, and drivers would overwrite each other's charges. The second has the same
        bytes, so that nothing is lost in finding out.
        """
        if self._refuses_twins:
            return
        try:
            create(self._store, self._name(len(self._entries) - 1), line)
        except AlreadyExistsError:
            self._refuses_twins = True
            return
        except FAILURES:
            return  # the entry is recorded; asked again after the next one
        raise LedgerError(
            f"ledger {self._location}: this store overwrites objects that it was told to create (it ignores "
            "If-None-Match), so it can't keep a ledger: use another, or a local folder"
        )

    def _name(self, seq: int) -> str:
        name = f"{seq:012d}.json"
        return f"{self._folder}/{name}" if self._folder else name

    def _path(self, seq: int) -> str:
        return f"{self._location}/{seq:012d}.json"


def _first_of(sent: Mapping[int, Sequence[bytes]], entries: Sequence[Entry]) -> int | None:
    """The number of the entry that is one of those `sent` under it: ours, and decided on what is before it."""
    return next((seq for seq, lines in sent.items() if seq < len(entries) and entries[seq] in map(decode, lines)), None)


def chains_under(url: str) -> list[ObjectChain]:
    """The chains of the datasets under `url`, or the one of the dataset that `url` names; [] if there is none."""
    store = open_store(url)
    try:
        objects, folders = top_level(store)
        if any(_NAME.fullmatch(name) for name in objects):
            return [ObjectChain(store, "", url)]
        # A folder with any entry is a chain, even one that has lost its first: reading it will say so.
        folders = [
            folder
            for folder in folders
            if any(_NAME.fullmatch(name.removeprefix(f"{folder}/")) for name in version_tags(store, folder))
        ]
    except FAILURES as error:
        raise LedgerError(f"can't read ledgers in {url}: {reason_of(error)}") from None
    return [ObjectChain(store, folder, url) for folder in folders]
