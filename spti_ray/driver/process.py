"""The driver's own process: where its warnings go, and how it is stopped."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from spti_ray.errors import is_known, one_line

_log = logging.getLogger(__name__)
_FRAMES = 8


class JsonLines(logging.Formatter):
    """One JSON object a line; `role` and `unit` where the call gives them in `extra`."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "run": self._run,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in ("role", "unit") if hasattr(record, name)},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


@contextmanager
def logged_to(path: Path, run: str) -> Iterator[None]:
    """Our own warnings go to an internal file; nothing of them is printed over the progress display.

    So does the error that ends the run: its line, and of one that is not ours where it came from, without its words.
    """
    path.touch(mode=0o600)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonLines(run))
    logger = logging.getLogger("spti_ray")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    except KeyboardInterrupt:
        _log.error("ended: interrupted")
        raise
    except BaseException as error:
        _log.error("ended: %s%s", one_line(error), "" if is_known(error) else f" (at {_places(error)})")
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


def _places(error: BaseException) -> str:
    """Where an error came from, innermost last. Of the code alone: its words may come from anywhere."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)


class Terminated(KeyboardInterrupt):
    """SIGTERM: somebody or something else than a person at the keyboard ends the run."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """A terminated driver leaves as an interrupted one: the cluster's resources are given back."""

    def interrupt(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_to_stop(what: str) -> bool:
    """Whether Ctrl-C is meant for the `what` that is watched, and not for the watching.

    Asked where somebody can answer; a second Ctrl-C, and one without a terminal, are meant for it.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    print(f"\nStop the {what} (s), or only stop watching it (w)? ", end="", flush=True)
    try:
        return not input().strip().lower().startswith("w")
    except (EOFError, KeyboardInterrupt):
        return True
