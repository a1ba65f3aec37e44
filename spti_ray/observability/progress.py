"""One progress display for a whole run: a live line in a terminal, plain lines elsewhere.

Shows public things only: stage, generation, texts and images that are done, their rate, the time left and the privacy
spent. Never a number of private records.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spti_ray.figures import at_least, decimals_at_least

_PLAIN_EVERY_S = 10.0
_WIDE = 128
"""Columns from which on the live line says all of it in words."""


class Progress:
    """Shows how far a run is, within its context. A step is a text written or an image rendered.

    Args:
        console: where to.
        generations: how many the run has.
    """

    def __init__(self, console: Console, generations: int) -> None:
        self._console = console
        self._generations = generations
        self._stage = "starting"
        self._generation: int | None = None
        self.done = 0
        self._total = 0
        self._started = time.monotonic()
        self._first: float | None = None
        self._first_done = 0
        self._printed = 0.0
        self._live: Live | None = None
        self._epsilon: tuple[float, float] | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._line, console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None

    def stage(self, name: str, generation: int | None = None) -> None:
        """The run begins a stage, of a generation counted from 0 or of none."""
        self._stage = name
        self._generation = generation
        self._show(force=True)

    def spent(self, epsilon: float, of: float) -> None:
        """The odometer: epsilon of the charged queries that the release depends on so far, and of what was planned."""
        self._epsilon = (epsilon, of)
        self._show()

    def expect(self, total: int) -> None:
        """So many steps will have been done at the end of the run."""
        self._total = total

    def advance(self, count: int) -> None:
        """So many more steps are done."""
        self.done += count
        if self._first is None:
            # The rate counts from the first steps on: what came before them was loading models.
            self._first, self._first_done = time.monotonic(), self.done
        self._show()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @property
    def rate(self) -> float:
        """Steps per second since the first ones."""
        if self._first is None:
            return 0.0
        return (self.done - self._first_done) / max(1e-3, time.monotonic() - self._first)

    def _where(self) -> str:
        if self._generation is None:
            return self._stage
        return f"generation {self._generation + 1}/{self._generations}: {self._stage}"

    def _left(self) -> str:
        if not self.rate or not self._total:
            return "--:--"
        seconds = max(0, round((self._total - self.done) / max(self.rate, 1e-6)))
        return f"{seconds // 60:02d}:{seconds % 60:02d}"

    def _elapsed(self) -> str:
        seconds = round(time.monotonic() - self._started)
        return f"{seconds // 60:02d}:{seconds % 60:02d}"

    def _figures(self) -> str:
        total = max(self.done, self._total)
        spent = ""
        if self._epsilon:
            spent = f", epsilon {decimals_at_least(self._epsilon[0], 3)} of {at_least(self._epsilon[1], 6)} spent"
        return f"{self.done}/{total} texts and images, {self.rate:.1f}/s, ETA {self._left()}{spent}"

    def _line(self) -> Table:
        """One line also in a terminal of 80 columns, where words and bar give way to the figures."""
        wide = self._console.width >= _WIDE
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, self._total), completed=min(self.done, self._total), width=24 if wide else 6)
        grid.add_row(
            Text(self._elapsed(), style="dim"),
            Text(self._where(), style="bold"),
            bar,
            Text(self._figures() if wide else self._short_figures()),
        )
        return grid

    def _short_figures(self) -> str:
        spent = f" ε {decimals_at_least(self._epsilon[0], 2)}/{at_least(self._epsilon[1], 6)}" if self._epsilon else ""
        return f"{self.done}/{max(self.done, self._total)} {self.rate:.1f}/s ETA {self._left()}{spent}"

    def _show(self, force: bool = False) -> None:
        if self._live is not None:
            return  # it draws itself four times a second
        now = time.monotonic()
        if force or now - self._printed >= _PLAIN_EVERY_S:
            self._printed = now
            figures = f" | {self._figures()}" if self.done else ""
            self._console.print(f"{self._elapsed()} {self._where()}{figures}", highlight=False, soft_wrap=True)
