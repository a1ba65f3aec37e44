"""The progress of a run whose driver is elsewhere: what the driver writes down, and what is shown of it here."""

from __future__ import annotations

from rich.console import Console

from spti_ray.observability.progress import Progress
from spti_ray.observability.reading import Reading


class Journal(Progress):
    """Shows nothing, and keeps the lines that stay for those who ask."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _show(self, force: bool = False) -> None:
        pass


class Relay(Progress):
    """Shows the readings of another process."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)

    def reading(self) -> Reading:
        return self._reading

    def take(self, reading: Reading) -> None:
        """Show this one."""
        began = (reading.stage, reading.generation) != (self._reading.stage, self._reading.generation)
        self._reading = reading
        self._show(force=began)
