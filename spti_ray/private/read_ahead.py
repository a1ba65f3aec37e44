# pyright: strict
"""Reads records on a thread of its own, so that the next ones are decoded while an engine works on the ones before."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator

from spti_ray.private.record import Record

MOST_BYTES = 256 * 2**20
"""Bytes of records that wait, from which on no further one is read."""


def read_ahead(records: Iterator[Record], most: int, most_bytes: int = MOST_BYTES) -> Generator[Record]:
    """The same records in the same order, of which some are read already when they are asked for.

    An error of the source is raised in its place, after the records before it. Whoever closes this generator, or lets
    an exception end its loop, ends the thread too; it is waited for.

    Args:
        records: the source, which is used on the thread alone.
        most: so many records wait at most, beside the one that is being read.
        most_bytes: with so many bytes of records waiting, the thread waits too.
    """
    waiting = _Waiting(most, most_bytes)

    def read() -> None:
        try:
            for record in records:
                if not waiting.put(record):
                    return
            waiting.end(None)
        except BaseException as error:  # noqa: BLE001 raised where the record would be
            waiting.end(error)

    thread = threading.Thread(target=read, name="reading records", daemon=True)
    thread.start()
    try:
        while (record := waiting.take()) is not None:
            yield record
    finally:
        waiting.close()
        thread.join()


class _Waiting:
    """Where records wait between the thread that reads them and the one that wants them."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._changed = threading.Condition()
        self._waiting: deque[Record] = deque()
        self._bytes = 0
        self._ended = self._closed = False
        self._error: BaseException | None = None

    def put(self, record: Record) -> bool:
        """Let a record wait, once there is room. Returns whether more are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room())
            self._waiting.append(record)
            self._bytes += _size(record)
            self._changed.notify_all()
            return not self._closed

    def take(self) -> Record | None:
        """The next record; None after the last. Raises what ended the reading."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ended)
            if self._waiting:
                record = self._waiting.popleft()
                self._bytes -= _size(record)
                self._changed.notify_all()
                return record
        error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def end(self, error: BaseException | None) -> None:
        """There are no more."""
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def close(self) -> None:
        """No more are wanted."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return len(self._waiting) < self._most and self._bytes < self._most_bytes


def _size(record: Record) -> int:
    return len(record.encoded) + (0 if record.image is None else record.image.nbytes)
