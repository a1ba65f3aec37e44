"""The voter of a local run: it asks the shards in the private process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from spti_ray.runtime.local.events import LocalEvents
from spti_ray.runtime.local.process import Process
from spti_ray.runtime.voter import Problems, ShardFailed, ShardVoter
from spti_ray.types import ScoredCandidates


class LocalVoter(ShardVoter):
    """Waits on the events of the pools, so that these go on meanwhile."""

    def __init__(
        self,
        process: Process | None,
        num_shards: int,
        events: LocalEvents,
        report_problems: Callable[[Problems], None],
        started: list[Future[None]],
    ) -> None:
        """`process`: where the shards are; None if there are none. `started`: the starts of the shards."""
        super().__init__(num_shards, report_problems)
        self._process = process
        self._events = events
        self._started = started
        # Begins the work at once; `ready` collects it.
        self._preparing = [self._future(shard, "prepare") for shard in range(num_shards)]

    @property
    def num_preparing(self) -> int:
        return sum(not future.done() for future in self._preparing)

    def show(self, generation: int, block: ScoredCandidates, votes_per_record: int) -> None:
        for shard in range(self.num_shards):
            self._future(shard, "compare", generation, block, votes_per_record)

    def _future(self, shard: int, method: str, *arguments: Any) -> Future[Any]:
        assert self._process is not None
        return self._process.ask("ask_shard", shard, method, arguments)

    def _ask(self, method: str, *arguments: Any) -> Iterator[Any]:
        answers: deque[Future[Any]] = deque()
        for start in self._started:
            if error := start.exception():
                raise ShardFailed(str(error)) from None
        for shard in range(self.num_shards):
            self._events.when_done(self._future(shard, method, *arguments), answers.append)
        for _ in range(self.num_shards):
            while not answers:
                self._events.wait()
            answer = answers.popleft()
            if error := answer.exception():
                raise ShardFailed(str(error)) from None
            yield answer.result()
