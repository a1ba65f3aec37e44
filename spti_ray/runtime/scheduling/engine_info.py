"""What the engines of a role run: for the certificate, which is written when some of them are gone already."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from spti_ray.runtime.scheduling.events import Events, Finished, Lost, Outcome, Raised


class Identity:
    """As one of a pool's actors said. The first that comes up is asked, one at a time: weights may be read for it.

    `lost` hears of an actor that turned out to be away when it was asked.
    """

    def __init__(self, events: Events, lost: Callable[[Any, Lost], None]) -> None:
        self.known: dict[str, str] | None = None
        self.error = ""
        """The type of what an engine raised instead; empty if none did."""
        self._events = events
        self._lost = lost
        self._asked = False

    def ask(self, actor: Any) -> None:
        """Unless it is known, or another is being asked."""
        if self.known is None and not self._asked:
            self._asked = True
            self._events.identity(actor, partial(self._told, actor))

    def _told(self, actor: Any, outcome: Outcome) -> None:
        self._asked = False
        if isinstance(outcome, Finished):
            self.known = outcome.result
        elif isinstance(outcome, Raised):
            self.error = outcome.error
        else:
            self._lost(actor, outcome)
