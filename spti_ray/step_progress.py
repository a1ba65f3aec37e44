"""How far a long step is: the callback that is told."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is, and of how much; 0 of 0 where that is not known."""


def untold(what: str, done: int, total: int) -> None:
    """A `Told` that shows nothing."""
