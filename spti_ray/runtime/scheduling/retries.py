"""How often something is tried again, and how long is waited before: the one place for both.

Not here: how patient an engine is with its own HTTP endpoint, which is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a pool allows its batches and actors.

    Args:
        slots: batches in flight per actor.
        attempts: how often the engine may raise on a batch before it is given up.
        crashes: how often an actor may crash under a batch before it is given up.
        batch_timeout_s: an engine that is at work on one batch for longer counts as hung.
        start_timeout_s: the first actor of a pool that starts from none must be up within this time.
        node_start_s: how long an actor that a pool grows by takes to come up, as long as none was seen to.
    """

    slots: int = 2
    attempts: int = 3
    crashes: int = 3
    batch_timeout_s: float = 3600.0
    start_timeout_s: float = 3600.0
    node_start_s: float = 0.0

    def gives_up(self, failures: int, crashes: int) -> bool:
        """Whether a batch is given up on which the engine raised, or its actor crashed, so often."""
        return failures >= self.attempts or crashes >= self.crashes


DEFAULTS = Limits()


@dataclass(frozen=True)
class Backoff:
    """Waits before a retry that double with each loss in a row.

    Args:
        first_s: seconds after no loss yet.
        longest_s: no wait is longer.
    """

    first_s: float
    longest_s: float

    def wait_s(self, losses: int) -> float:
        """Seconds before the next try, after so many losses in a row."""
        # Who asks for days has more losses than a float has room for.
        return min(self.first_s * 2.0 ** min(losses, 100), self.longest_s)


POOL_ACTOR = Backoff(0.2, 5.0)
"""Before a pool asks a lost actor again whether it is back; it asks without end."""

PRIVATE_CALL = Backoff(0.1, 30.0)
"""Before a shard, an engine that serves shards, or the trainer is asked again: a model takes a minute to load, a new
node several."""

MAX_START_FAILURES = 3
"""After so many actors in a row that could not be started, a pool tries no more."""

MAX_WAKE_FAILURES = 2
"""So often an actor may fail to wake up, or to fall asleep, before it is given up: see `gpu_time_sharing`."""

MAX_LOSSES = 20
"""So many losses in a row of a shard, or of the engines that it calls, end the run. A batch whose images were lost so
often is given up."""
