"""How much of a pool's slots is in use."""

from __future__ import annotations


class Use:
    """Mean number of batches at work since the last look."""

    def __init__(self, now: float) -> None:
        self._batches = 0
        self._batch_seconds = 0.0
        self._since = self._at = now

    def change(self, now: float, by: int) -> None:
        self._batch_seconds += self._batches * (now - self._at)
        self._batches += by
        self._at = now

    def begin(self, now: float) -> None:
        """Forget what was until now."""
        self.change(now, 0)
        self._batch_seconds, self._since = 0.0, now

    def share(self, now: float, slots: int) -> float:
        """Used share of the slots since this was asked last, or since `begin`."""
        self.change(now, 0)
        share = self._batch_seconds / max(1e-9, slots * (now - self._since))
        self.begin(now)
        return share
