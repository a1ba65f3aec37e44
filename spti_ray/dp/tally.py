"""The clean sum of the shards' votes. Private: only the gate calls this, and only to noise the result at once.

Arrays of counts are never bound to a local name here, so that a traceback that prints locals shows none.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spti_ray.types import Votes


class GateError(RuntimeError):
    """Votes or reservations that the gate refuses; one line that shows no count."""


def tally(votes: Iterable[Votes], num_shards: int, candidates_sha256: str, num_candidates: int) -> Votes:
    """The sum over exactly one result of each shard 0..num_shards-1, as `Votes` because it is just as private.

    GateError if a shard is missing or unknown, contradicts itself, voted on other candidates, or counts more than
    its records may cast.
    """
    by_shard: dict[int, Votes] = {}
    for vote in votes:
        _check(vote, num_shards, candidates_sha256, num_candidates)
        known = by_shard.setdefault(vote.shard_id, vote)
        # A retried shard may answer twice. Answering differently means that its votes depend on more than its records.
        if not (np.array_equal(known.counts_K, vote.counts_K) and known.max_total == vote.max_total):
            raise GateError(f"shard {vote.shard_id} sent two different results")
    missing = [shard for shard in range(num_shards) if shard not in by_shard]
    if missing or num_shards < 1:
        raise GateError(f"{len(missing)} of {num_shards} shards sent no votes (first: {missing[:5]})")
    total = Votes(
        shard_id=-1,
        candidates_sha256=candidates_sha256,
        counts_K=np.zeros(num_candidates, dtype=np.int64),
        max_total=sum(vote.max_total for vote in by_shard.values()),
    )
    for vote in by_shard.values():
        np.add(total.counts_K, vote.counts_K, out=total.counts_K)
    return total


def _check(vote: Votes, num_shards: int, candidates_sha256: str, num_candidates: int) -> None:
    shard = vote.shard_id
    if not 0 <= shard < num_shards:
        raise GateError(f"votes of shard {shard}, but there are {num_shards} shards")
    if vote.candidates_sha256 != candidates_sha256:
        raise GateError(f"shard {shard} voted on other candidates than were reserved")
    if vote.counts_K.dtype != np.int64 or vote.counts_K.shape != (num_candidates,):
        raise GateError(f"votes of shard {shard} must be {num_candidates} int64 counts")
    # Summed as Python integers, which can't overflow. 2^40 votes of one shard are beyond any dataset, and the bound
    # keeps the sum over 2^20 shards within what the sampler represents.
    if not (
        int(vote.counts_K.min(initial=0)) >= 0
        and 0 <= vote.max_total <= 2**40
        and sum(vote.counts_K.tolist()) <= vote.max_total
    ):
        raise GateError(f"votes of shard {shard} are outside what its records may cast")
