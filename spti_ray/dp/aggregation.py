"""Aggregation: the clean sum of the shards' votes. Rule held here: exactly one result of each shard counts, once.

PRIVATE: only the gate calls this, and only to add noise to the result at once.

Votes are summed as they arrive and only a fingerprint of each is kept, so memory is a few arrays of K counts however
many shards there are. Counts and totals are never bound to a local name here, and the objects that hold them have no
printing repr: a traceback that prints local variables shows no count.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import numpy as np

from spti_ray.votes import Query, Votes

# Together these limits keep every sum below 2^61, up to which noise can be added, and every step within int64.
MAX_TOTAL = 2**40
"""Largest total of one shard's votes: more than any dataset has."""
MAX_CANDIDATES = 2**22
MAX_SHARDS = 2**20


class GateError(RuntimeError):
    """The gate refuses votes or a reservation; one line that shows no count."""


def aggregate_votes(votes: Iterable[Votes], num_shards: int, query: Query, num_candidates: int) -> Votes:
    """Sum exactly one result of each shard 0..num_shards-1.

    Args:
        votes: consumed once, one result at a time. A shard that was asked again may send the same result twice.
        query: what all results must answer.

    Returns:
        The sum, with shard_id -1. It is `Votes` too, because it is just as private.

    Raises:
        GateError: a shard is missing or unknown, sent two different results, answered another query, or counts more
            than its records may cast.
    """
    if not (1 <= num_shards <= MAX_SHARDS and 0 <= num_candidates <= MAX_CANDIDATES):
        raise GateError(
            f"{num_shards} shards and {num_candidates} candidates are outside what one query can count: "
            f"1 to {MAX_SHARDS} shards, up to {MAX_CANDIDATES} candidates"
        )
    running = _RunningSum(query, num_candidates)
    for vote in votes:
        _check(vote, num_shards, query, num_candidates)
        running.add(vote)
    missing = [shard for shard in range(num_shards) if shard not in running.shards]
    if missing:
        raise GateError(f"{len(missing)} of {num_shards} shards sent no votes (first: {missing[:5]})")
    return running.total()


class _RunningSum:
    """The sum so far, and which shards are in it. Not a dataclass, so its repr shows no count."""

    def __init__(self, query: Query, num_candidates: int) -> None:
        self._query = query
        self._counts_K = np.zeros(num_candidates, dtype=np.int64)
        self._max_total = 0
        self._seen: dict[int, tuple[int, int]] = {}
        # Secret multipliers, new for each sum, so that fingerprints tell nothing to anybody else.
        self._key_K = np.frombuffer(secrets.token_bytes(8 * num_candidates), dtype=np.uint64)

    @property
    def shards(self) -> Iterable[int]:
        return self._seen.keys()

    def add(self, vote: Votes) -> None:
        """Count a shard's votes; a second result of the same shard must equal the first, and is not counted."""
        if vote.shard_id not in self._seen:
            self._seen[vote.shard_id] = self._fingerprint(vote)
            np.add(self._counts_K, vote.counts_K, out=self._counts_K)
            self._max_total += vote.max_total
        # A retried shard may answer twice. Two different answers depend on more than its records.
        elif self._seen[vote.shard_id] != self._fingerprint(vote):
            raise GateError(f"shard {vote.shard_id} sent two different results")

    def total(self) -> Votes:
        return Votes(self._query, -1, self._counts_K, self._max_total)

    def _fingerprint(self, vote: Votes) -> tuple[int, int]:
        """A hash of a shard's result. PRIVATE, as it depends on the counts: it never leaves this process.

        The counts enter by their inner product with uniformly random multipliers, modulo 2^64. Two given different
        results agree with probability 2^-64, or 2^-(64-v) if all differences are multiples of 2^v (v <= 40). That is
        enough against faults; shards are trusted not to be an adversary. It takes a quarter of the time of Python's
        `hash`, and an eighth of SHA-256's.
        """
        return int(np.dot(vote.counts_K.view(np.uint64), self._key_K)), vote.max_total


def _check(vote: Votes, num_shards: int, query: Query, num_candidates: int) -> None:
    shard = vote.shard_id
    if not 0 <= shard < num_shards:
        raise GateError(f"votes of shard {shard}, but there are {num_shards} shards")
    if vote.query.run != query.run:
        raise GateError(f"shard {shard} voted for run {vote.query.run!r}, not {query.run!r}")
    if vote.query.generation != query.generation:
        raise GateError(f"shard {shard} voted on generation {vote.query.generation}, not {query.generation}")
    if vote.query.candidates_sha256 != query.candidates_sha256:
        raise GateError(f"shard {shard} voted on other candidates than were reserved")
    if vote.counts_K.dtype != np.int64 or vote.counts_K.shape != (num_candidates,):
        raise GateError(f"votes of shard {shard} must be {num_candidates} int64 counts")
    # Read as unsigned, a negative count is above any limit, so one pass checks both ends. Only after it is the sum
    # known not to overflow: 2^22 counts of at most 2^40 each.
    if not (
        0 <= vote.max_total <= MAX_TOTAL
        and int(vote.counts_K.view(np.uint64).max(initial=0)) <= vote.max_total
        and int(vote.counts_K.sum()) <= vote.max_total
    ):
        raise GateError(f"votes of shard {shard} are outside what its records may cast")
