"""The actor around a private shard, and the voter that asks all shards.

Clean votes cross from here to the driver's memory only, as `Votes.to_wire` tuples, and go straight to the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from spti_ray.config import Config
from spti_ray.private.shard import Shard
from spti_ray.types import FloatArray, ImageArray, ScoredCandidates, Votes

_MAX_LOSSES = 20


class ShardFailed(RuntimeError):
    """A shard could not be prepared or voted; the message has no private content."""


def _remote(names: list[str], offset: int) -> Callable[[list[Any]], Any] | None:
    """Calls to an engine's actors from inside a shard, spread over the replicas; a lost actor is asked again."""
    if not names:
        return None
    actors = [ray.get_actor(name) for name in names]
    turn = offset

    def call(batch: list[Any]) -> Any:
        nonlocal turn
        for attempt in range(_MAX_LOSSES):
            turn += 1
            try:
                return ray.get(actors[turn % len(actors)].run.remote(batch))[0]
            except RayActorError:
                if attempt + 1 == _MAX_LOSSES:
                    raise
        raise AssertionError("unreachable")

    return call


@ray.remote
class ShardActor:
    """Hosts one shard. State that a restart loses is computed again, or read from the internal cache."""

    def __init__(
        self, config: Config, shard_id: int, engines: Mapping[str, list[str]], batch_size: int, cache: str, key: str
    ) -> None:
        self._shard = Shard(
            config.data,
            shard_id=shard_id,
            num_shards=config.runtime.shards,
            unit=config.privacy.unit,
            label_names=config.evolution.label_names,
            spaces=tuple(config.evolution.spaces),
            batch_size=batch_size,
        )
        self._engines = engines
        self._shard_id = shard_id
        self._cache = cache
        self._key = key
        self._prepared = False

    def prepare(self) -> list[tuple[int, str]]:
        """Make the private views; return the problems (record index, fixed reason) for the internal report."""
        if not self._prepared:
            if not self._shard.load_views(self._cache, self._key):
                embed_images: Callable[[list[ImageArray]], FloatArray] | None
                embed_images = _remote(self._engines.get("image_embedder", []), self._shard_id)
                caption = _remote(self._engines.get("captioner", []), self._shard_id)
                embed_texts = _remote(self._engines.get("text_embedder", []), self._shard_id)
                self._shard.prepare(embed_images, caption, embed_texts)
                self._shard.save_views(self._cache, self._key)
            self._prepared = True
        return self._shard.problems()

    def vote(self, scored: ScoredCandidates, votes_per_record: int) -> tuple[int, str, bytes, int]:
        self.prepare()
        return self._shard.vote(scored, votes_per_record).to_wire()


class RayVoter:
    """Asks every shard for its votes; a shard whose actor died is asked again, and the gate takes one answer each."""

    def __init__(self, shards: list[Any], report_problems: Callable[[list[tuple[int, str]]], None]) -> None:
        """`report_problems` gets the records that cast no vote, once; they are private."""
        self._shards = shards
        self._report_problems: Callable[[list[tuple[int, str]]], None] | None = report_problems
        # Starts the work at once; `ready` collects it.
        self._preparing = [shard.prepare.remote() for shard in shards]

    @property
    def num_shards(self) -> int:
        return len(self._shards)

    def ready(self) -> None:
        """Wait for the private views of all shards. Raises ShardFailed."""
        if self._report_problems is not None:
            found = [problem for shard in self._ask("prepare") for problem in shard]
            self._report_problems(sorted(found))
            self._report_problems = None

    def vote(self, scored: ScoredCandidates, votes_per_record: int) -> Iterator[Votes]:
        reference = ray.put(scored)
        for wire in self._ask("vote", reference, votes_per_record):
            yield Votes.from_wire(wire)

    def _ask(self, method: str, *arguments: Any) -> Iterator[Any]:
        references = {getattr(shard, method).remote(*arguments): i for i, shard in enumerate(self._shards)}
        losses = 0
        while references:
            ready, _ = ray.wait(list(references), num_returns=1)
            for reference in ready:
                shard = references.pop(reference)
                try:
                    answer = ray.get(reference)
                except RayTaskError as error:
                    # Only the type and our own content-free text; never a traceback with locals of the private side.
                    cause = getattr(error, "cause", None)
                    detail = str(cause) if type(cause).__name__ == "ShardError" else type(cause).__name__
                    raise ShardFailed(f"shard {shard}: {method} failed: {detail}") from None
                except RayActorError:
                    losses += 1
                    if losses > _MAX_LOSSES:
                        raise ShardFailed(f"shard {shard}: its actor died again and again") from None
                    references[getattr(self._shards[shard], method).remote(*arguments)] = shard
                    continue
                yield answer
