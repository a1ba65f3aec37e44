"""What the engines of a pool run: model, revision and settings, as one of them says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from spti_ray.runtime.scheduling.events import Events, Finished, Lost, Outcome, Raised


class EngineFailed(RuntimeError):
    """An engine could not be started, or could not say what it is; the message is one line."""


class EngineInfo:
    """What a pool's engines run. The first actor that comes up is asked; the answer is kept for the certificate, which
    is written when that actor may be gone.

    Only one actor is asked at a time: it may have to read all of its weights for the answer.

    Args:
        role: by which errors name the engines.
        events: by which an actor is asked.
        on_lost: is called with an actor that turned out to be lost when it was asked, and how.
    """

    def __init__(self, role: str, events: Events, on_lost: Callable[[Any, Lost], None]) -> None:
        self._role = role
        self._identity: dict[str, str] | None = None
        self._error = ""
        """The type of what an engine raised instead of an answer."""
        self._events = events
        self._on_lost = on_lost
        self._asked = False

    def ask(self, actor: Any) -> None:
        """Ask this actor, unless the answer is known or another is being asked."""
        if self._identity is None and not self._asked:
            self._asked = True
            self._events.identity(actor, partial(self._answered, actor))

    def wait(self, up: Callable[[], Iterable[Any]], check: Callable[[], None]) -> dict[str, str]:
        """The answer, once there is one.

        Args:
            up: the actors that are up now.
            check: raises if none will ever be.

        Raises:
            EngineFailed: an engine could not say it; one line.
        """
        if self._identity is not None:
            return self._identity
        with self._events.needed():
            while self._identity is None:
                if self._error:
                    raise EngineFailed(f"the {self._role} could not say what it runs: {self._error}")
                check()
                for actor in up():
                    self.ask(actor)
                self._events.wait()
        return self._identity

    def _answered(self, actor: Any, outcome: Outcome) -> None:
        self._asked = False
        if isinstance(outcome, Finished):
            self._identity = outcome.result
        elif isinstance(outcome, Raised):
            self._error = outcome.error
        elif isinstance(outcome, Lost):
            self._on_lost(actor, outcome)
