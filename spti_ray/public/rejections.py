"""Which renders of a release were not accepted, and why: in a file, so that a run that goes on decides alike."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from spti_ray.io.files import write_atomic

REJECTIONS = "rejected.jsonl"
"""Its name in the run's internal folder. All in it is public: names of files, reasons and measures of renders."""


class Rejections(Mapping[str, str]):
    """The reason by the file that the render would have been, such as `images/00012.png`.

    Args:
        path: of the file, a JSON object a line; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        rows = [(line, row) for line in lines if (row := _row_of(line)) is not None]
        self._reasons: dict[str, str] = dict(row for _, row in rows)
        if len(rows) < len(lines):
            write_atomic(path, b"".join(line for line, _ in rows), mode=0o600)  # without one that a crash cut short

    def __getitem__(self, file: str) -> str:
        return self._reasons[file]

    def __iter__(self) -> Iterator[str]:
        return iter(self._reasons)

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, file: str, reason: str, measures: Mapping[str, Any]) -> None:
        """Note a render that is not accepted."""
        if self._file is None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file = os.fdopen(descriptor, "a", encoding="utf-8")
        self._file.write(json.dumps({"file": file, "reason": reason, **measures}) + "\n")
        self._file.flush()
        self._reasons[file] = reason

    def settle(self) -> None:
        """Make what was noted durable."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Make it durable, and close the file."""
        self.settle()
        if self._file is not None:
            self._file.close()
            self._file = None


def _row_of(line: bytes) -> tuple[str, str] | None:
    """The file and the reason; None for a line that is not whole."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not line.endswith(b"\n") or not isinstance(row, dict):
        return None
    file, reason = row.get("file"), row.get("reason")
    return (file, reason) if isinstance(file, str) and isinstance(reason, str) else None
