"""Coroutines on the driver's thread: where one must wait, whoever resumed it goes on.

Each stream of a pool takes from its source in a coroutine of its own. The source is often another pool's stream. Were
its wait an ordinary call, it would hold up every frame below it, and the result that it waits for may need one of
these.
"""

from __future__ import annotations

from collections.abc import Callable

from greenlet import getcurrent, greenlet


class Coroutine:
    """Runs `act`, from the first `resume` on. What `act` raises, whoever resumed it gets."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._greenlet = _Greenlet(act)

    def resume(self) -> None:
        """Run on until the next `pause` or the end. Does nothing if it has ended, or is what runs now."""
        if not self._greenlet.dead and not self._greenlet.running:
            self._switch(self._greenlet.switch)

    def end(self) -> None:
        """End it where it pauses; its `finally` clauses run."""
        if not self._greenlet.dead and not self._greenlet.running:
            self._switch(self._greenlet.throw)

    def _switch(self, switch: Callable[[], object]) -> None:
        self._greenlet.parent = getcurrent()
        self._greenlet.running = True
        try:
            switch()
        finally:
            self._greenlet.running = False


class _Greenlet(greenlet):
    running = False


def pause() -> bool:
    """Let whoever resumed this coroutine go on, and return True once it is resumed; elsewhere return False at once."""
    current = getcurrent()
    if not isinstance(current, _Greenlet):
        return False
    current.parent.switch()  # pyright: ignore[reportOptionalMemberAccess] whoever resumed it
    return True
