"""How far a command is that works in steps: a live line in a terminal; elsewhere a plain one a step, and every 10 s."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from spti_ray.cli.leaving import watch
from spti_ray.figures import clock
from spti_ray.step_progress import Told

_PLAIN_EVERY_S = 10.0


@contextmanager
def step_progress(now: Callable[[], float] = time.monotonic, quick: bool = False) -> Iterator[Told]:
    """What is told goes to the stderr of now, also while that is closed to libraries.

    Args:
        now: the time in seconds.
        quick: the command mostly takes less than a few seconds: no plain line comes before the 10th.
    """
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as stderr:
        watch(stderr)
        console = Console(file=stderr)
        if console.is_terminal:
            columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
            with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
                task = bar.add_task("")
                yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
            return
        lines = PlainSteps(now, quick)
        yield (
            lambda what, done, total: (
                console.print(line, markup=False, highlight=False, soft_wrap=True)
                if (line := lines.line(what, done, total))
                else None
            )
        )


@contextmanager
def said_again(told: Told, every_s: float = _PLAIN_EVERY_S) -> Iterator[Told]:
    """`told`, to which the last step is told again as long as it takes: for those that say nothing themselves."""
    last: list[tuple[str, int, int]] = []
    ended = threading.Event()

    def tell(what: str, done: int, total: int) -> None:
        last[:] = [(what, done, total)]
        told(what, done, total)

    def go_on() -> None:
        while not ended.wait(every_s):
            for step in tuple(last):
                told(*step)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        ended.set()
        thread.join()


class PlainSteps:
    """Says when a line is due, and which."""

    def __init__(self, now: Callable[[], float], quick: bool = False) -> None:
        """`now`: the time in seconds, as `time.monotonic`. `quick`: see `step_progress`."""
        self._now, self._quick = now, quick
        self._began = now()
        self._what, self._printed = "", self._began

    def line(self, what: str, done: int, total: int) -> str:
        """The line about this step; empty if none is due."""
        if (self._quick or what == self._what) and self._now() - self._printed < _PLAIN_EVERY_S:
            return ""
        self._what, self._printed = what, self._now()
        return f"{clock(round(self._printed - self._began))} {what}" + (f", {done} of {total}" if total else "")
