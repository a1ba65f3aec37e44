"""DP_NN_HISTOGRAM: the one step of Private Evolution that asks private data, and so the one that is charged."""

from __future__ import annotations

from spti_ray.dp.gate import Gate
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.evolution.protocols import Voter, Watcher
from spti_ray.types import NoisyHistogram, ScoredCandidates


def dp_nn_histogram(
    generation: int,
    scored: ScoredCandidates,
    votes_per_record: int,
    voter: Voter,
    gate: Gate | UnnoisedGate,
    watch: Watcher,
) -> NoisyHistogram:
    """Each private record votes for the candidates nearest to it; the gate sums the votes and adds noise once.

    What can fail on the private side fails before the charge, and the charge is durable before any vote is cast. The
    candidates must be stored by now: a run that is killed after the charge goes on with the same ones.
    """
    voter.ready()
    ids = tuple(candidate.id for candidate in scored.candidates)
    reservation = gate.reserve(generation, scored.sha256(), ids)
    watch.charged(gate.odometer_reading())
    votes = voter.vote(reservation.query, scored, votes_per_record)
    return gate.measure(reservation, votes, voter.num_shards)
