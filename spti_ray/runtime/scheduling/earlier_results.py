"""Takes over the kept results of a run that a build was interrupted at which had them in an SQLite file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pyarrow as pa

from spti_ray.runtime.scheduling.packed_images import packed
from spti_ray.runtime.scheduling.result_log import ResultLog


def adopt_earlier(file: Path, log: ResultLog, paid: Path) -> None:
    """Copy the results into `log`, and what the writer cost into `paid`; then delete the file.

    One that can't be read is deleted too: its batches are run again.
    """
    if not file.exists():
        return
    with suppress(sqlite3.DatabaseError, OSError, ValueError), closing(sqlite3.connect(file)) as database:
        for key, generation, result in database.execute(
            "SELECT key, generation, result FROM units ORDER BY generation"
        ):
            log.put(generation, key, [result] if result.startswith(b"[") else packed(_images(result)))
        costs = database.execute("SELECT tokens, dollars FROM paid").fetchall()
        # One name: an attempt that is killed before the deletion has not paid twice.
        paid.write_text("".join(f"{json.dumps(cost)}\n" for cost in costs))
    log.close()
    file.unlink()


def _images(stored: bytes) -> list[bytes | None]:
    return pa.ipc.open_stream(stored).read_all().column(0).to_pylist()
