# pyright: strict
"""LMDB databases of encoded images, such as LSUN: one value per record, in the order of their keys.

Keys are not kept anywhere. Databases are opened read-only and without a lock file, so nothing is written beside them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from spti_ray.io.object_storage import StoragePath
from spti_ray.private.damage import Damaged
from spti_ray.private.encoded import FILE_TOO_LARGE

LMDB_SUFFIXES = (".mdb", ".lmdb")
LOCK = "lock.mdb"

# LMDB refuses to open a database twice in one process, and two shards in a process may read it at once.
_lock = threading.Lock()
_open: dict[str, tuple[Any, int]] = {}


def num_values(file: StoragePath) -> int:
    """How many records a database has.

    Raises:
        lmdb.Error: it is no database that can be read.
        OSError: it is cut short.
        ImportError: the `lmdb` extra is not installed.
    """
    with _environment(file.path) as environment:
        return environment.stat()["entries"]


def values(file: StoragePath, wanted: range, limit: int) -> Iterator[tuple[int, bytes | str]]:
    """Yield (position among the records, bytes or a problem) of the wanted records, one by one.

    Args:
        wanted: positions among the records.
        limit: bytes of the largest value that is read.

    Raises:
        Damaged: there are fewer records than the database says.
        lmdb.Error: pages can't be read.
    """
    with _environment(file.path) as environment, environment.begin(buffers=True) as transaction:
        cursor = transaction.cursor()
        there: bool = cursor.first()
        for _ in range(wanted.start):
            there = there and cursor.next()
        for position in wanted:
            if not there:
                raise Damaged("an LMDB database has fewer records than it says; make it again")
            value: memoryview = cursor.value()
            yield position, FILE_TOO_LARGE if len(value) > limit else bytes(value)
            there = cursor.next()


@contextmanager
def _environment(path: str) -> Generator[Any]:
    import lmdb  # an extra  # pyright: ignore[reportMissingTypeStubs]

    library: Any = lmdb
    with _lock:
        environment, users = _open.get(path, (None, 0))
        if environment is None:
            environment = library.open(
                os.fsencode(path), subdir=False, readonly=True, lock=False, readahead=False, create=False
            )
            # Pages are mapped: reading one that an unfinished copy lacks would kill the process.
            if os.path.getsize(path) < (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]:
                environment.close()
                raise OSError("the database is cut short")
        _open[path] = environment, users + 1
    try:
        yield environment
    finally:
        with _lock:
            environment, users = _open.pop(path)
            if users > 1:
                _open[path] = environment, users - 1
            else:
                environment.close()
