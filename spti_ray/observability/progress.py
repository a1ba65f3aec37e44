"""One progress display for a whole run: live lines in a terminal, plain ones elsewhere.

Shows public things only: stage, generation, texts and images that are done, their rate, the time left, the privacy
spent, and the engines of roles that work for no shard. Never a number of private records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spti_ray.observability.pool_reading import PoolReading
from spti_ray.observability.reading import Reading

_PLAIN_EVERY_S = 10.0
_PLAIN_IDLE_S = 60.0
"""A plain line comes so late where nothing was made since the last one."""
_WIDE = 128
"""Columns from which on the live line says all of it in words."""


class Progress:
    """Shows how far a run is, within its context. A step is a text written or an image rendered.

    Args:
        console: where to.
        generations: how many the run has, as far as that is known already.
    """

    def __init__(self, console: Console, generations: int = 0) -> None:
        self._console = console
        self._reading = Reading(generations=generations)
        self._started = time.monotonic()
        self._first: float | None = None
        self._first_done = 0
        self._printed, self._printed_done = 0.0, 0
        self._live: Live | None = None
        self._pools: dict[str, Callable[[], PoolReading]] = {}
        self._how_far: Callable[[], str] = str
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._lines, console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        elif not self._console.quiet:
            # What takes long tells nothing of itself: models that load, nodes that come, shards that embed.
            threading.Thread(target=self._tell, name="progress", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None

    def _tell(self) -> None:
        while not self._ended.wait(_PLAIN_EVERY_S):
            self._show()

    def watch_pool(self, role: str, reading: Callable[[], PoolReading]) -> None:
        """Show the engines of a role from now on; `reading` may be called at any time, from another thread."""
        self._pools = self._pools | {role: reading}

    def generations(self, count: int) -> None:
        """The run has so many."""
        self._reading = replace(self._reading, generations=count)

    @contextmanager
    def telling(self, how_far: Callable[[], str]) -> Iterator[None]:
        """Within, these words stand behind the name of the stage; called at any time, from another thread."""
        self._how_far = how_far
        try:
            yield
        finally:
            self._how_far = str

    def stage(self, name: str, generation: int | None = None) -> None:
        """The run begins a stage, of a generation counted from 0 or of none."""
        self._reading = replace(self._reading, stage=name, generation=generation)
        self._show(force=True)

    def spent(self, epsilon: float, of: float) -> None:
        """The odometer: epsilon of the charged queries that the release depends on so far, and of what was planned."""
        self._reading = replace(self._reading, epsilon=(epsilon, of))
        self._show()

    def expect(self, total: int) -> None:
        """So many steps will have been done at the end of the run."""
        self._reading = replace(self._reading, total=total)

    def advance(self, count: int) -> None:
        """So many more steps are done."""
        self._reading = replace(self._reading, done=self.done + count)
        if self._first is None:
            # The rate counts from the first steps on: what came before them was loading models.
            self._first, self._first_done = time.monotonic(), self.done
        self._show()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @property
    def done(self) -> int:
        return self._reading.done

    @property
    def rate(self) -> float:
        """Steps per second since the first ones."""
        if self._first is None:
            return 0.0
        return (self.done - self._first_done) / max(1e-3, time.monotonic() - self._first)

    def reading(self) -> Reading:
        """How far the run is now."""
        pools = tuple(pool() for pool in self._pools.values())
        stage = ", ".join(words for words in (self._reading.stage, self._how_far()) if words)
        elapsed_s = time.monotonic() - self._started
        return replace(self._reading, stage=stage, rate=self.rate, elapsed_s=elapsed_s, pools=pools)

    def _lines(self) -> RenderableType:
        """How far it is, and under that the engines."""
        now = self.reading()
        pools = " · ".join(words for pool in now.pools if (words := pool.words))
        line = self._line(now)
        return Group(line, Text(f" {pools}", style="dim", no_wrap=True, overflow="ellipsis")) if pools else line

    def _line(self, now: Reading) -> Table:
        """One line also in a terminal of 80 columns, where words and bar give way to the figures."""
        wide = self._console.width >= _WIDE
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, now.total), completed=min(now.done, now.total), width=24 if wide else 6)
        grid.add_row(
            Text(now.elapsed, style="dim"),
            Text(now.where, style="bold"),
            bar,
            Text(now.figures if wide else now.short_figures),
        )
        return grid

    def _show(self, force: bool = False) -> None:
        if self._live is not None:
            return  # it draws itself four times a second
        waited = time.monotonic() - self._printed
        if force or waited >= (_PLAIN_EVERY_S if self.done > self._printed_done else _PLAIN_IDLE_S):
            self._printed, self._printed_done = time.monotonic(), self.done
            now = self.reading()
            figures = f" | {now.figures}" if now.done else ""
            amiss = f" | {now.amiss}" if now.amiss else ""
            self._console.print(f"{now.elapsed} {now.where}{figures}{amiss}", highlight=False, soft_wrap=True)
