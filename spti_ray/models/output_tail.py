"""The last lines that an engine's other processes print while it starts: vLLM's own error only points to them."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from types import TracebackType
from typing import ClassVar

_LINES = 400
_ERROR = re.compile(r"(?:^|[\s\]])((?:\w+\.)*\w*(?:Error|Exception))(?:: (.*))?$")
_POINTERS = ("initialization failed", "See stack trace for root cause", "See root cause above")
"""What errors say that only point to another process's."""


class OutputTail:
    """While it is entered, what this process and those that it starts print is passed on, and its end is kept.

    A process that was started meanwhile goes on printing through it. For engines that see public input alone.
    """

    _entered: ClassVar[list[OutputTail]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._tail: deque[str] = deque(maxlen=_LINES)
        self._reader: threading.Thread | None = None
        self._is_passed_on = True

    @classmethod
    def abandon(cls) -> None:
        """Nobody waits for the start any more: from now on only this process itself prints, and at once."""
        with cls._lock:
            for tail in cls._entered:
                tail._is_passed_on = False
                tail._give_back()
            cls._entered.clear()

    def __enter__(self) -> OutputTail:
        sys.stdout.flush()
        sys.stderr.flush()
        with self._lock:
            self._saved = os.dup(1), os.dup(2)
            source, sink = os.pipe()
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os.close(sink)
            self._reader = threading.Thread(target=self._pass_on, args=(source, os.dup(self._saved[1])), daemon=True)
            self._entered.append(self)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        with self._lock:
            if self in self._entered:
                self._entered.remove(self)
                self._give_back()

    def _give_back(self) -> None:
        for saved, descriptor in zip(self._saved, (1, 2), strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)

    def reason(self) -> str:
        """The last error in what was printed that is not only a pointer to another; empty if there is none."""
        if self._reader is not None:
            self._reader.join(2.0)  # It ends when those who print have.
        for line in reversed(list(self._tail)):
            found = _ERROR.search(line.rstrip())
            if found and not any(pointer in line for pointer in _POINTERS):
                return f"{found[1].rpartition('.')[2]}: {found[2] or ''}".rstrip(": ")
        return ""

    def _pass_on(self, source: int, sink: int) -> None:
        with os.fdopen(source, "r", encoding="utf-8", errors="replace") as lines, os.fdopen(sink, "w") as out:
            for line in lines:
                self._tail.append(line)
                if self._is_passed_on:
                    out.write(line)
                    out.flush()
