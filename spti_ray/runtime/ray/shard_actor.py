"""The actor around a private shard, and the voter that asks all shards.

Clean votes cross from here to the driver's memory only, as `Votes.to_wire` tuples, and go straight to the gate.
A shard's process is silent, and its exceptions are content-free: Ray keeps the text of both where others may look.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from spti_ray.config import Config
from spti_ray.models.gpu_share import hold_process_to
from spti_ray.private.output_suppression import suppress_output_permanently
from spti_ray.private.safe_errors import ShardError, safe_errors
from spti_ray.probe import Probe
from spti_ray.runtime.hosting.shard import ShardHost
from spti_ray.runtime.ray.events import creation_failure
from spti_ray.runtime.scheduling.retries import MAX_LOSSES, PRIVATE_CALL
from spti_ray.runtime.voter import Problems, ShardFailed, ShardVoter, failure_of
from spti_ray.types import ScoredCandidates

_LOOK_FOR_ENGINES_S = 10.0
"""How often a shard looks whether there are more engines."""

_GATHER_S = 0.1
"""For how long answers of shards are gathered before the first of them are passed on."""


class Serving:
    """The actors of a role that serve shards: those of the run's start, and those that its pool has grown by since.

    Actors are known by name, `...-index`: handles among a shard's arguments would not survive its restart.
    """

    def __init__(self, names: list[str], offset: int) -> None:
        self._names = names
        self._common = names[0].rpartition("-")[0] + "-"
        self._turn = offset
        self._actors: list[Any] = []
        self._look_again = 0.0

    def __call__(self, *batch: list[Any]) -> Any:
        """Have one of them run the batch; a lost actor's is run by another, or by itself when it is back.

        `batch`: the arguments of the engine's method, as lists.
        """
        for attempt in range(MAX_LOSSES):
            actors = self._known()
            self._turn += 1
            try:
                return ray.get(actors[self._turn % len(actors)].run_private.remote(*batch))[0]
            except RayActorError:
                if attempt + 1 == MAX_LOSSES:
                    raise
                self._look_again = 0.0
                time.sleep(PRIVATE_CALL.wait_s(attempt))
        raise AssertionError("unreachable")

    def _known(self) -> list[Any]:
        if time.monotonic() >= self._look_again:
            there = {name for name in ray.util.list_named_actors() if name.startswith(self._common)}
            # One that is on its way back is not listed: it is asked all the same.
            names = [*self._names, *sorted(there - set(self._names))]
            self._actors = [actor for actor in map(_actor, names) if actor is not None] or self._actors
            self._look_again = time.monotonic() + _LOOK_FOR_ENGINES_S
        if not self._actors:
            raise ShardError("an engine for its views is needed and was given back: the same command starts it again")
        return self._actors


def _actor(name: str) -> Any | None:
    try:
        return ray.get_actor(name)
    except ValueError:  # it is gone for good
        return None


@ray.remote
class ShardActor(ShardHost):
    """Hosts one shard in an actor. A restarted one computes its state again, or reads it from the internal cache."""

    @safe_errors("starting")
    def __init__(
        self,
        config: Config,
        shard_id: int,
        engines: Mapping[str, list[str]],
        batch_size: int,
        cache: str,
        key: str,
        listing: str | None = None,
        survey: str = "",
    ) -> None:
        """`engines` names the actors of each role that serves shards; all else: see `ShardHost`."""
        self.shard_id = shard_id
        suppress_output_permanently()
        hold_process_to(config.runtime.shard.num_gpus or 1.0)
        asked = {role: Serving(names, shard_id) for role, names in engines.items() if names}
        super().__init__(config, shard_id, asked, batch_size, cache, key, listing, survey)


class RayVoter(ShardVoter):
    """Asks every shard for its votes; a shard whose actor died is asked again, and the gate takes one answer each."""

    def __init__(
        self,
        shards: list[Any],
        report_problems: Callable[[Problems], None],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """`report_problems` gets the records that cast no vote, once; they are private. `meanwhile` is called again and
        again while shards are waited for."""
        super().__init__(len(shards), report_problems)
        self._shards = shards
        self._meanwhile = meanwhile
        # Starts the work at once; `ready` collects it.
        self._preparing = [shard.prepare.remote() for shard in shards]

    @property
    def num_preparing(self) -> int:
        if self._report_problems is None or not self._preparing:
            return 0
        preparing = ray.wait(self._preparing, num_returns=len(self._preparing), timeout=0)[1]
        if preparing:
            return len(preparing)
        try:
            ray.get(self._preparing)
        except RayError:
            return 1  # at least; `ready` asks it again
        return 0

    def show(self, generation: int, block: ScoredCandidates, votes_per_record: int) -> None:
        reference = ray.put(block)
        for shard in self._shards:
            shard.compare.remote(generation, reference, votes_per_record)

    def _shared(self, asked: ScoredCandidates | Probe) -> Any:
        return ray.put(asked)

    def _ask(self, method: str, *arguments: Any) -> Iterator[Any]:
        references = {getattr(shard, method).remote(*arguments): i for i, shard in enumerate(self._shards)}
        losses = Counter[int]()
        # Lost ones and when they are asked again. Meanwhile the others are heard.
        later: dict[int, float] = {}
        while references or later:
            self._meanwhile()
            for shard in [shard for shard, when in later.items() if when <= time.monotonic()]:
                del later[shard]
                references[getattr(self._shards[shard], method).remote(*arguments)] = shard
            if not references:
                time.sleep(_GATHER_S)
                continue
            # All that are there at once: one by one, each would cost a look at all that are not.
            ready, _ = ray.wait(list(references), num_returns=len(references), timeout=_GATHER_S)
            for reference in ready:
                shard = references.pop(reference)
                try:
                    answer = ray.get(reference)
                except RayTaskError as error:
                    raise ShardFailed(failure_of(error.cause, f"shard {shard}: {method}")) from None
                except RayActorError as error:
                    losses[shard] += 1
                    reason = creation_failure(error) if isinstance(error, ActorDiedError) else ""
                    if reason:
                        raise ShardFailed(f"shard {shard} could not be started: {reason}") from None
                    if losses[shard] > MAX_LOSSES:
                        raise ShardFailed(f"shard {shard}: its actor died again and again") from None
                    later[shard] = time.monotonic() + PRIVATE_CALL.wait_s(losses[shard])
                    continue
                except RayError as error:
                    raise ShardFailed(f"shard {shard}: {method} failed ({type(error).__name__})") from None
                yield answer
