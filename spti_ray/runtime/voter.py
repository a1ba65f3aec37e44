"""The voter that asks all shards, wherever they run: from their answers to the gate and to the internal report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from spti_ray.private.kinds import NoRecordCanVote
from spti_ray.private.safe_errors import PUBLIC_ERRORS
from spti_ray.private.shard import Prepared
from spti_ray.probe import Probe
from spti_ray.types import ScoredCandidates
from spti_ray.votes import Query, Votes

Problems = list[tuple[int, str]]
"""Records that cast no vote, by number, and why: private."""


class ShardFailed(RuntimeError):
    """A shard could not be prepared or voted; the message has no private content."""


class ShardVoter(ABC):
    """`evolution`'s `Voter`: asks every shard for its votes, which go to the gate alone."""

    def __init__(self, num_shards: int, report_problems: Callable[[Problems], None]) -> None:
        """`report_problems` gets the records that cast no vote, once; they are private."""
        self.num_shards = num_shards
        self._report_problems: Callable[[Problems], None] | None = report_problems

    @property
    @abstractmethod
    def num_preparing(self) -> int:
        """How many shards have no views yet, as far as is known: each keeps one engine busy."""

    @abstractmethod
    def show(self, generation: int, block: ScoredCandidates, votes_per_record: int) -> None:
        """Let the shards get ahead with candidates that are embedded already; does not wait, and tells nothing.

        A shard that fails at it, or is lost, looks at these candidates when it votes.
        """

    @abstractmethod
    def _ask(self, method: str, *arguments: Any) -> Iterator[Any]:
        """The answers of all shards to a method of theirs, as they come in. Raises ShardFailed."""

    def _shared(self, asked: ScoredCandidates | Probe) -> Any:
        """The form in which what is asked about is sent to all shards."""
        return asked

    def ready(self) -> None:
        """Wait for the private views of all shards.

        Raises:
            ShardFailed: one could not be prepared.
            NoRecordCanVote: not one record of all shards can. Whether few can is not looked at.
        """
        if self._report_problems is not None:
            shards: list[Prepared] = list(self._ask("prepare"))
            self._report_problems(sorted(problem for shard in shards for problem in shard.problems))
            self._report_problems = None
            if not any(shard.can_vote for shard in shards):
                raise NoRecordCanVote(
                    "data.path: no record of this data set can vote, so nothing was spent. Do data.label_column, "
                    "data.group_column and evolution.labels fit the data? spti check CONFIG --out DIR shows the data's "
                    "owner which record has which problem"
                )

    def vote(self, query: Query, scored: ScoredCandidates, votes_per_record: int) -> Iterator[Votes]:
        """The shards' votes as they come in. Raises ShardFailed."""
        for wire in self._ask("vote", query.run, query.generation, self._shared(scored), votes_per_record):
            yield Votes.from_wire(wire)

    def answer(self, query: Query, probe: Probe) -> Iterator[Votes]:
        """The shards' counts of right and wrong answers to a public probe, as they come in. Raises ShardFailed."""
        for wire in self._ask("answer", query.run, query.generation, self._shared(probe)):
            yield Votes.from_wire(wire)


def failure_of(cause: BaseException, step: str) -> str:
    """One line about the exception of a shard; texts of types that are not ours are not shown."""
    if not isinstance(cause, PUBLIC_ERRORS):
        return f"{step} failed ({type(cause).__name__})"
    text = " ".join(str(cause).split())
    return text if text.startswith("shard ") else f"{step} failed: {text}"
