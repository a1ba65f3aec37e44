"""How long batches take, on average over the last ones."""

from __future__ import annotations


class MovingMean:
    """An exponentially weighted mean. `weight`: of the newest value; the first one has all of it."""

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self.value: float | None = None
        """None before the first one."""

    def add(self, value: float) -> None:
        """One more value."""
        self.value = value if self.value is None else self.value + (value - self.value) * self._weight
