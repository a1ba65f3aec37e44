"""Results of public units that outlive the driver: a resumed run does not write or render again what is there.

One SQLite file in the run's internal folder, with the units of the generation in hand. A killed driver loses the units
in flight. A power cut may lose more, or the file: then it is made anew and the units are run again, so nothing waits
for the disk. Units of embedders are not kept: they are cheap, and their arguments are images.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from spti_ray.observability.timings import Timings
from spti_ray.types import Completions

KeptRole = Literal["writer", "renderer"]
KEPT_ROLES: tuple[KeptRole, ...] = ("writer", "renderer")


class Kept(Protocol):
    """The place of one unit's result, which an earlier attempt of this run may have filled."""

    def get(self) -> Any | None: ...

    def put(self, result: Any) -> None: ...


class KeptUnits:
    """The file. `context` is what results depend on besides a unit's arguments: another one finds nothing."""

    def __init__(self, path: Path, context: str) -> None:
        self._path = path
        self._context = context
        self._generation = 0
        self.found = 0
        """Units that did not have to be run again."""
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
        """Units of earlier generations are not asked for any more."""
        self._generation = generation
        self._database.execute("DELETE FROM units WHERE generation < ?", (generation,))

    def pay(self, tokens: int, dollars: float) -> None:
        """Note what a unit of the writer cost, whether it is kept or not."""
        with suppress(sqlite3.DatabaseError):
            self._database.execute("INSERT INTO paid VALUES (?, ?)", (tokens, dollars))

    def paid(self) -> tuple[int, float]:
        """Output tokens and US dollars of all of the writer's units, over all attempts at the run."""
        with suppress(sqlite3.DatabaseError):
            rows = self._database.execute("SELECT coalesce(sum(tokens), 0), coalesce(sum(dollars), 0.0) FROM paid")
            tokens, dollars = rows.fetchone()
            return int(tokens), float(dollars)
        return 0, 0.0

    def settle(self, timings: Timings, path: Path, extra: dict[str, Any]) -> None:
        """Write a run's timings to `path`, with what the writer cost over all attempts, and remove the file."""
        timings.in_all(*self.paid())
        timings.write(path, extra)
        self.remove()

    def close(self) -> None:
        self._database.close()

    def remove(self) -> None:
        """The run has what it wanted of them."""
        self.close()
        self._path.unlink(missing_ok=True)

    def place(self, role: KeptRole, arguments: tuple[Any, ...]) -> Place:
        """Where the result of a role's unit is kept."""
        plain = [[asdict(item) for item in arguments[0]]] if role == "writer" else arguments
        text = json.dumps([self._context, role, plain], sort_keys=True, default=_fingerprint)
        return Place(self, role, hashlib.sha256(text.encode()).hexdigest())

    def read(self, key: str) -> bytes | None:
        try:
            with closing(self._database.execute("SELECT result FROM units WHERE key = ?", (key,))) as rows:
                found = rows.fetchone()
        except sqlite3.DatabaseError:
            return None
        return None if found is None else found[0]

    def write(self, key: str, result: bytes) -> None:
        # A damaged file costs only time; a full disk is told by whatever is written next.
        with suppress(sqlite3.DatabaseError):
            self._database.execute("INSERT OR REPLACE INTO units VALUES (?, ?, ?)", (key, self._generation, result))


def _completions(
    texts: list[str], num_tokens: int, dollars: float = 0.0, truncated: tuple[bool, ...] | list[bool] = ()
) -> Completions:
    """As `Place.put` stores them; those of an earlier build end with the tokens."""
    return Completions(tuple(texts), num_tokens, dollars, truncated=tuple(truncated))


def _fingerprint(png: bytes) -> str:
    """What stands for an image among a unit's arguments."""
    return hashlib.sha256(png).hexdigest()


class Place:
    """`Kept` in that file."""

    def __init__(self, units: KeptUnits, role: KeptRole, key: str) -> None:
        self._units = units
        self._role = role
        self._key = key

    def get(self) -> Any | None:
        """The unit's result, or None."""
        stored = self._units.read(self._key)
        if stored is None:
            return None
        self._units.found += 1
        if self._role == "writer":
            return [_completions(*fields) for fields in json.loads(stored)]
        return pa.ipc.open_stream(stored).read_all().column(0).to_pylist()

    def put(self, result: Any) -> None:
        """Keep it and what it cost. A unit most of which is missing is asked for again by a later attempt."""
        if self._role == "writer":
            self._units.pay(sum(answer.num_tokens for answer in result), sum(answer.dollars for answer in result))
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
        self._units.write(self._key, stored)
