"""How far `spti init` is: a live line in a terminal, and a plain one for each step elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Told = Callable[[str, int, int], None]


@contextmanager
def drafting_progress() -> Iterator[Told]:
    """What is told of a draft (`drafting.Told`) goes to the stderr of now, also while that is closed to libraries."""
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as stderr:
        console, began = Console(file=stderr), time.monotonic()
        if console.is_terminal:
            columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
            with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
                task = bar.add_task("")
                yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
            return
        shown: list[str] = []

        def plain(what: str, done: int, total: int) -> None:
            if what not in shown:
                shown.append(what)
                seconds = round(time.monotonic() - began)
                line = f"{seconds // 60:02d}:{seconds % 60:02d} {what}" + (f", {total} requests" if total else "")
                console.print(line, highlight=False, soft_wrap=True)

        yield plain
