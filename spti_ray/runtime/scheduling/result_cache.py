"""Results of public batches that outlive the driver: a resumed run does not write or render again what is there.

One SQLite file in the run's internal folder, with the batches of the generation in hand. A driver that is killed loses
those in flight. A power cut may lose more, or the whole file; it is then made anew and the batches are run again, so
nothing waits for the disk. Batches of embedders are not stored: they are cheap, and their arguments are images.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from spti_ray.types import Completions, RenderBatch, WriteRequest

CachedRole = Literal["writer", "renderer"]
CACHED_ROLES: tuple[CachedRole, ...] = ("writer", "renderer")


class CachedResult(Protocol):
    """The place of one batch's result, which an earlier attempt at this run may have filled."""

    def get(self) -> Any | None: ...

    def put(self, result: Any) -> None: ...


class ResultCache:
    """The file.

    Args:
        path: where it is, or is made.
        context: what results depend on beside a batch's arguments: with another context nothing is found.
    """

    def __init__(self, path: Path, context: str) -> None:
        self._path = path
        self._context = context
        self._generation = 0
        self.found = 0
        """Batches that did not have to be run again."""
        try:
            self._open()
        except sqlite3.DatabaseError:
            self._path.unlink()
            self._open()

    def _open(self) -> None:
        self._path.touch(mode=0o600)
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS units (key TEXT PRIMARY KEY, generation INTEGER NOT NULL, result BLOB NOT NULL)"
        )
        self._database.execute("SELECT count(*) FROM units").fetchone()
        self._database.execute("CREATE TABLE IF NOT EXISTS paid (tokens INTEGER NOT NULL, dollars REAL NOT NULL)")

    def begin(self, generation: int) -> None:
        """Drop the batches of earlier generations: they are not asked for any more."""
        self._generation = generation
        self._database.execute("DELETE FROM units WHERE generation < ?", (generation,))

    def add_cost(self, tokens: int, dollars: float) -> None:
        """Note what a batch of the writer cost, whether its result is stored or not."""
        with suppress(sqlite3.DatabaseError):
            self._database.execute("INSERT INTO paid VALUES (?, ?)", (tokens, dollars))

    def total_cost(self) -> tuple[int, float]:
        """Output tokens and US dollars of all batches of the writer, over all attempts at the run."""
        with suppress(sqlite3.DatabaseError):
            rows = self._database.execute("SELECT coalesce(sum(tokens), 0), coalesce(sum(dollars), 0.0) FROM paid")
            tokens, dollars = rows.fetchone()
            return int(tokens), float(dollars)
        return 0, 0.0

    def close(self) -> None:
        self._database.close()

    def remove(self) -> None:
        """Delete the file: the run is made."""
        self.close()
        self._path.unlink(missing_ok=True)

    def entry(self, role: CachedRole, arguments: tuple[Any, ...]) -> CacheEntry:
        """The place of the result of a role's batch."""
        text = json.dumps([self._context, role, _plain(arguments[0])], sort_keys=True, default=_fingerprint)
        return CacheEntry(self, role, hashlib.sha256(text.encode()).hexdigest())

    def read(self, key: str) -> bytes | None:
        try:
            with closing(self._database.execute("SELECT result FROM units WHERE key = ?", (key,))) as rows:
                found = rows.fetchone()
        except sqlite3.DatabaseError:
            return None
        return None if found is None else found[0]

    def write(self, key: str, result: bytes) -> None:
        # A damaged file costs only time; a full disk stops whatever is written next.
        with suppress(sqlite3.DatabaseError):
            self._database.execute("INSERT OR REPLACE INTO units VALUES (?, ?, ?)", (key, self._generation, result))


def _completions(
    texts: list[str], num_tokens: int, dollars: float = 0.0, truncated: tuple[bool, ...] | list[bool] = ()
) -> Completions:
    """As `CacheEntry.put` stores them; those of an earlier build end with the tokens."""
    return Completions(tuple(texts), num_tokens, dollars, truncated=tuple(truncated))


def _plain(batch: RenderBatch | Sequence[WriteRequest]) -> list[Any]:
    """What a batch's key is made of. Never changes: by it an interrupted run finds what another build has stored."""
    if not isinstance(batch, RenderBatch):
        return [[asdict(request) for request in batch]]
    if batch.images:
        return [batch.images, batch.texts, batch.seeds, batch.strength]
    return [batch.texts, batch.seeds]


def _fingerprint(png: bytes) -> str:
    """What stands for an image in a batch's key."""
    return hashlib.sha256(png).hexdigest()


class CacheEntry:
    """The place of one batch's result in the file."""

    def __init__(self, cache: ResultCache, role: CachedRole, key: str) -> None:
        self._cache = cache
        self._role = role
        self._key = key

    def get(self) -> Any | None:
        """The batch's result, or None."""
        stored = self._cache.read(self._key)
        if stored is None:
            return None
        self._cache.found += 1
        if self._role == "writer":
            return [_completions(*fields) for fields in json.loads(stored)]
        return pa.ipc.open_stream(stored).read_all().column(0).to_pylist()

    def put(self, result: Any) -> None:
        """Store it and what it cost. One most of which is missing is left out: a later attempt asks for it again."""
        if self._role == "writer":
            self._cache.add_cost(sum(answer.num_tokens for answer in result), sum(answer.dollars for answer in result))
        missing = sum(item is None or (self._role == "writer" and bool(item.problem)) for item in result)
        if 2 * missing > len(result):
            return
        if self._role == "writer":
            stored = json.dumps([[one.texts, one.num_tokens, one.dollars, one.truncated] for one in result]).encode()
        else:
            images = pa.record_batch([pa.array(result, pa.binary())], ["png"])
            buffer = pa.BufferOutputStream()
            with pa.ipc.new_stream(buffer, images.schema) as writer:
                writer.write_batch(images)
            stored = buffer.getvalue().to_pybytes()
        self._cache.write(self._key, stored)
