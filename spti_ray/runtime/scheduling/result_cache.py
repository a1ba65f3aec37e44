"""Results of public batches that outlive the driver: a resumed run does not write or render again what is there.

They are in the run's internal folder: those of the generation in hand (see `result_log`), and what the writer cost. A
thread writes them, so that the driver's never waits for a disk. A driver that is killed loses the batches in flight;
one counts as in flight until that thread has written it. A power cut may lose more, which is run again, so nothing
waits for the disk either. Batches of embedders are not stored: they are cheap, and their arguments are images.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from spti_ray.io.files import private_folder
from spti_ray.io.write_threads import WriteThreads
from spti_ray.runtime.scheduling.earlier_results import adopt_earlier
from spti_ray.runtime.scheduling.packed_images import packed, unpacked
from spti_ray.runtime.scheduling.result_log import ResultLog
from spti_ray.types import Completions, ImageLost, RenderBatch, WriteRequest

log = logging.getLogger(__name__)

CachedRole = Literal["writer", "renderer"]
CACHED_ROLES: tuple[CachedRole, ...] = ("writer", "renderer")


class CachedResult(Protocol):
    """The place of one batch's result, which an earlier attempt at this run may have filled."""

    def get(self) -> Any | None: ...

    def put(self, result: Any) -> None: ...


class ResultCache:
    """The folder.

    Args:
        folder: where it is, or is made. What an earlier build has left in `FOLDER.sqlite` is taken over.
        context: what results depend on beside a batch's arguments: with another context nothing is found.
    """

    def __init__(self, folder: Path, context: str) -> None:
        self._folder = private_folder(folder)
        self._context = context
        self._generation = 0
        self._writes = WriteThreads("kept results")
        self.found = 0
        """Batches that did not have to be run again."""
        self._log = ResultLog(folder)
        adopt_earlier(folder.with_suffix(".sqlite"), self._log, folder / "paid-earlier.jsonl")
        self._paid = list(_paid(folder))
        self._paid_file = folder / f"paid-{secrets.token_hex(8)}.jsonl"

    def begin(self, generation: int) -> None:
        """Drop the batches of earlier generations: they are not asked for any more."""
        self._generation = generation
        self._write(lambda: self._log.keep_from(generation))

    def add_cost(self, tokens: int, dollars: float) -> None:
        """Note what a batch of the writer cost, whether its result is stored or not."""
        self._paid.append((tokens, dollars))
        self._write(lambda: _append(self._paid_file, json.dumps([tokens, dollars])))

    def total_cost(self) -> tuple[int, float]:
        """Output tokens and US dollars of all batches of the writer, over all attempts at the run."""
        return sum(tokens for tokens, _ in self._paid), sum(dollars for _, dollars in self._paid)

    def settle(self) -> None:
        """Wait until all that was put is written."""
        self._writes.drain()

    def close(self) -> None:
        """Write what waits, and end."""
        self._writes.close()
        self._log.close()

    def remove(self) -> None:
        """Delete the folder: the run is made."""
        self.close()
        for file in self._folder.iterdir():
            file.unlink()
        self._folder.rmdir()

    def entry(self, role: CachedRole, arguments: tuple[Any, ...]) -> CacheEntry:
        """The place of the result of a role's batch."""
        text = json.dumps([self._context, role, _plain(arguments[0])], sort_keys=True, default=_fingerprint)
        return CacheEntry(self, role, hashlib.sha256(text.encode()).hexdigest())

    def read(self, key: str) -> bytes | None:
        return self._log.get(key)

    def write(self, key: str, result: Callable[[], Sequence[bytes | memoryview]]) -> None:
        """Keep a result, which is asked for on the thread that writes it."""
        generation = self._generation
        self._write(lambda: self._log.put(generation, key, result()))

    def _write(self, act: Callable[[], None]) -> None:
        self._writes.submit(partial(_unless_it_fails, act))


def _unless_it_fails(act: Callable[[], None]) -> None:
    """What is not kept costs only time. A full disk stops whatever is written next."""
    try:
        act()
    except ImageLost:
        pass
    except OSError as error:
        log.warning("results are not kept for a later attempt: %s", type(error).__name__)


def _append(file: Path, line: str) -> None:
    with file.open("a") as lines:
        lines.write(line + "\n")


def _paid(folder: Path) -> Any:
    """(tokens, dollars) of each batch that earlier attempts paid for; one that is cut off is left out."""
    for file in folder.glob("paid-*.jsonl"):
        for line in file.read_text(errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                tokens, dollars = json.loads(line)
                yield int(tokens), float(dollars)


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
    """The place of one batch's result in the folder."""

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
        return unpacked(stored)

    def put(self, result: Any) -> None:
        """Store it soon, and what it cost. Where most is missing it is not stored: a later attempt asks again."""
        if self._role == "writer":
            self._cache.add_cost(sum(answer.num_tokens for answer in result), sum(answer.dollars for answer in result))
        missing = sum(item is None or (self._role == "writer" and bool(item.problem)) for item in result)
        if 2 * missing > len(result):
            return
        self._cache.write(self._key, partial(_texts if self._role == "writer" else packed, result))


def _texts(result: Sequence[Completions]) -> list[bytes]:
    return [json.dumps([[one.texts, one.num_tokens, one.dollars, one.truncated] for one in result]).encode()]
