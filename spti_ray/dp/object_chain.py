"""A chain in an object store. Rule held here: entry n is created by exactly one writer and never replaced.

For S3 and compatible stores, Google and Azure. Entry n of a dataset is the object `<url>/<dataset>/<n in 12
digits>.json`: its canonical line without newline. Only one writer can create number n (`If-None-Match: *`), which makes
that a compare-and-swap on the chain's head: a writer that loses the race reads and decides again. Listing and reading
are strongly consistent in all of these stores. A reader with a stale listing would only lose the race for a number that
is taken.

A driver needs the rights to list, get and put. Without the right to delete, and with the bucket's versioning or object
lock, even a stolen driver's credentials can't undo a charge.
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
"""How often an entry is sent before an error is final. obstore has retried inside each of them (`_RETRY`)."""
_TRIES = 30
"""How often to decide again when another writer was quicker; in every round one of the writers succeeds."""
_PAUSE_S = 0.02
"""Mean wait before the second try in seconds; it doubles with each try, up to 64 times that."""
_READERS = 16

_NAME = re.compile(r"[0-9]{12}\.json")


class ObjectChain:
    """The chain of one dataset in a bucket; for the methods see `Chain`.

    Keeps the entries that it has verified, so a later read lists the names and fetches only what is new or, as the
    store says, changed. Refuses a chain in which a verified entry is gone or replaced. Threads may share it. Refuses to
    work after a fork: the library's threads are not in the child, which would hang.

    Args:
        store: the bucket, or a folder of it.
        dataset: the folder of the chain's objects in `store`; "" if they are at its top.
        url: where `store` is, for people.
    """

    def __init__(self, store: ObjectStore, dataset: str, url: str) -> None:
        self._store, self._folder = store, dataset
        self._location = f"{url.rstrip('/')}/{dataset}".rstrip("/")
        self._entries: list[Entry] = []
        self._tags: list[str] = []
        self._is_create_only = False  # whether the store was seen to refuse a second object of one name
        self._lock, self._pid = threading.Lock(), os.getpid()

    @classmethod
    def at(cls, url: str, dataset: str) -> ObjectChain:
        """The chain of `dataset` under `url`, such as s3://bucket/ledgers. Sends no request yet."""
        return cls(open_store(url), dataset, url)

    @property
    def location(self) -> str:
        return self._location

    def read(self) -> Reading:
        with self._exclusive():
            return Reading(list(self._refresh()))

    def append(self, decide: Decide) -> list[Entry]:
        # Lines sent so far, by entry number. A request that was given up may still be carried out later.
        sent: dict[int, list[bytes]] = {}
        with self._exclusive():
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
        if any(seq >= len(entries) for seq in sent):  # the store called a number taken, and nothing is there
            raise LedgerError(
                f"can't write ledger {self._location}: the store answered {_TRIES} times that another write is under "
                "way; whether the entry was recorded is unknown, and running again settles it"
            )
        raise LedgerError(
            f"can't write ledger {self._location}: others were quicker {_TRIES} times; nothing was recorded, run again"
        )

    def _exclusive(self) -> threading.Lock:
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
        """The version tag of each object, in the entries' order; LedgerError unless they are numbered 0, 1, 2, ..."""
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
        """Create the object of entry `seq` from the last of `lines`; the other lines were sent before.

        Returns:
            (the line that the object holds, its version tag) once durable; None if the number is another writer's, or
            if the store calls it taken and shows no object.
        """
        reason = ""
        for again in range(_PUTS):
            try:
                try:
                    # The same bytes can't be recorded twice: after the first time the name is taken.
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
        """The content of the object that took the number: perhaps our own entry, if the store's answer got lost.

        Equal bytes are ours. OPENED has a random token. Other entries of a run name one of its slots or generations,
        and only the attempt with the latest OPENED may append them, from one chain object, one entry at a time. Two
        people may append equal REGISTERED or EVALUATED entries in the same millisecond: the entry is recorded once, and
        is true for both.

        None if there is no object: S3 also refuses with "conflict" while another create is under way. That one may be
        our own earlier request, and may still succeed or fail.
        """
        try:
            return get(self._store, self._name(seq))
        except FileNotFoundError:
            return None

    def _check_store(self, line: bytes) -> None:
        """After the first append, check once that the store refuses a second object of the same name.

        Some servers ignore If-None-Match, so that drivers would overwrite each other's charges. The second object has
        the same bytes, so the check loses nothing.

        Raises:
            LedgerError: the store overwrote the object.
        """
        if self._is_create_only:
            return
        try:
            create(self._store, self._name(len(self._entries) - 1), line)
        except AlreadyExistsError:
            self._is_create_only = True
            return
        except FAILURES:
            return  # the entry is recorded; checked again after the next one
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
    """The number of the first entry that is one of our `sent` lines; None if none is.

    It was decided on exactly the entries before it, so the append succeeded.
    """
    return next((seq for seq, lines in sent.items() if seq < len(entries) and entries[seq] in map(decode, lines)), None)


def chains_under(url: str) -> list[ObjectChain]:
    """The chains of all datasets under `url`, or the one chain that `url` itself names; [] if there is none.

    Raises:
        LedgerError: the store can't be read.
    """
    store = open_store(url)
    try:
        objects, folders = top_level(store)
        if any(_NAME.fullmatch(name) for name in objects):
            return [ObjectChain(store, "", url)]
        # A folder with any entry is a chain; if its first entries are missing, reading it will say so.
        folders = [
            folder
            for folder in folders
            if any(_NAME.fullmatch(name.removeprefix(f"{folder}/")) for name in version_tags(store, folder))
        ]
    except FAILURES as error:
        raise LedgerError(f"can't read ledgers in {url}: {reason_of(error)}") from None
    return [ObjectChain(store, folder, url) for folder in folders]
