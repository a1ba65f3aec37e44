"""Work that takes turns on the driver's thread: where a piece of it must wait, whoever resumed it goes on.

Each stream of a pool pulls from its source in a coroutine of its own. A source is often another pool's stream; were its
wait an ordinary call, it would hold up every frame below it, which the awaited result may depend on.
"""

from __future__ import annotations

from collections.abc import Callable

from greenlet import getcurrent, greenlet


class Coroutine:
    """`act`, begun by the first `resume`. What it raises, whoever resumed it gets."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._greenlet = _Greenlet(act)

    def resume(self) -> None:
        """Run on until it pauses or ends; nothing if it has ended, or is itself what is running."""
        if not self._greenlet.dead and not self._greenlet.running:
            self._switch(self._greenlet.switch)

    def end(self) -> None:
        """Leave it where it pauses; its `finally` clauses run."""
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
    """In a coroutine: let whoever resumed it go on, and return True when it is resumed. Elsewhere: False at once."""
    current = getcurrent()
    if not isinstance(current, _Greenlet):
        return False
    current.parent.switch()  # pyright: ignore[reportOptionalMemberAccess] whoever resumed it
    return True
