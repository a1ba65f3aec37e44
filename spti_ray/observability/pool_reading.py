"""The engines of one role, as the progress display shows them."""

from __future__ import annotations

from dataclasses import dataclass

from spti_ray.figures import clock


@dataclass(frozen=True)
class PoolReading:
    """What the engines of one role have to do now. Only of roles that work for no shard: of others it is private."""

    role: str
    asked: int = 0
    """Engines that there shall be."""
    up: int = 0
    """Of these, those that have loaded their models."""
    at_work: int = 0
    """Batches that engines have."""
    waiting: int = 0
    """Batches that wait for an engine."""
    lost: int = 0
    """Engines that were lost since the run started."""
    loading_s: float = 0.0
    """For how long none has been up while one was asked for."""

    @property
    def is_loading(self) -> bool:
        """Whether the first engine is still to come."""
        return self.asked > 0 and not self.up

    @property
    def words(self) -> str:
        """For people; empty where there is no engine and nothing to do."""
        lost = f", {self.lost} lost" if self.lost else ""
        if self.is_loading:
            return f"{self.role} loading for {clock(round(self.loading_s))}{lost}"
        if not self.asked:
            return ""
        waiting = f", {self.waiting} waiting" if self.waiting else ""
        return f"{self.role} {self.up} of {self.asked} up, {self.at_work} at work{waiting}{lost}"
