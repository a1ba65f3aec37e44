"""What the engines of a pool run: model, revision and settings, as one of them says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from spti_ray.runtime.scheduling.events import Events, Finished, Lost, Outcome, Raised


class EngineInfo:
    """What a pool's engines run. The first actor that comes up is asked; the answer is kept for the certificate, which
    is written when that actor may be gone.

    Only one actor is asked at a time: it may have to read all of its weights for the answer.

    Args:
        events: by which an actor is asked.
        on_lost: is called with an actor that turned out to be lost when it was asked, and how.
    """

    def __init__(self, events: Events, on_lost: Callable[[Any, Lost], None]) -> None:
        self.identity: dict[str, str] | None = None
        """None until an engine has said it."""
        self.error = ""
        """The type of what an engine raised instead; empty if none did."""
        self._events = events
        self._on_lost = on_lost
        self._asked = False

    def ask(self, actor: Any) -> None:
        """Ask this actor, unless the answer is known or another is being asked."""
        if self.identity is None and not self._asked:
            self._asked = True
            self._events.identity(actor, partial(self._answered, actor))

    def _answered(self, actor: Any, outcome: Outcome) -> None:
        self._asked = False
        if isinstance(outcome, Finished):
            self.identity = outcome.result
        elif isinstance(outcome, Raised):
            self.error = outcome.error
        else:
            self._on_lost(actor, outcome)
