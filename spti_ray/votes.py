"""PRIVATE: the clean votes of a shard, and the question to it.

`Votes` refuses to be printed or pickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from spti_ray.types import CountArray

VotesWire = tuple[str, int, str, int, bytes, int]
"""`Votes` on their way from a shard to the driver; see `Votes.to_wire`."""


@dataclass(frozen=True)
class Query:
    """A question to the shards: their votes in a generation of a run, on exactly these candidates. Public."""

    run: str
    generation: int
    candidates_sha256: str


@dataclass(frozen=True, repr=False)
class Votes:
    """PRIVATE: the clean votes of one shard on one query. Only the gate may read `counts_K`, int64 [K].

    Its repr shows no count, and it can't be pickled. An actor hands it over by `to_wire`; the driver's voter rebuilds
    it by `from_wire` and passes it straight to the gate.
    """

    query: Query
    shard_id: int
    counts_K: CountArray
    max_total: int
    """Upper bound on sum(counts_K): votes per unit times the shard's units. PRIVATE too, as it reveals their number."""

    def __repr__(self) -> str:
        return "<Votes: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("Votes are private and are never pickled")

    def to_wire(self) -> VotesWire:
        """The tuple that goes from a shard's actor to the driver's memory, and nowhere else."""
        raw = np.ascontiguousarray(self.counts_K, dtype="<i8").tobytes()
        return self.query.run, self.query.generation, self.query.candidates_sha256, self.shard_id, raw, self.max_total

    @classmethod
    def from_wire(cls, wire: VotesWire) -> Votes:
        """The inverse of `to_wire`."""
        run, generation, candidates_sha256, shard_id, raw, max_total = wire
        counts_K = np.frombuffer(raw, dtype="<i8").astype(np.int64, copy=False)
        return cls(Query(run, generation, candidates_sha256), shard_id, counts_K, max_total)
