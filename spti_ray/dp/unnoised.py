"""The gate of a run that is NOT private (epsilon inf). Rule held here: the ledger records such a run before it votes.

The protocol is the gate's, without charge and without noise. Nothing that comes out is differentially private, so none
of it may leave the data owner's hands: `folder` must be closed to others, and such a run makes no release. It charges
nothing and opens no run, so the ledger's composition stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from spti_ray.dp import artifact
from spti_ray.dp.aggregation import aggregate_votes
from spti_ray.dp.build import code_version
from spti_ray.dp.entries import Reserved
from spti_ray.dp.gate import Reservation
from spti_ray.dp.ledger import Ledger
from spti_ray.types import NoisyHistogram
from spti_ray.votes import Votes

_NO_NOISE = "NONE: clean counts, NOT private"


class UnnoisedGate:
    """A gate, as the evolution loop sees it, that gives out clean counts.

    Args:
        folder: where histograms are kept; closed to everybody but the owner.
        what: what the run makes, in words, for the ledger.
    """

    def __init__(self, ledger: Ledger, run: str, folder: Path, votes_per_record: int, what: str) -> None:
        self._ledger, self._run, self._folder = ledger, run, folder
        self._votes_per_record = votes_per_record
        self._what = what

    def open(self) -> None:
        """Record the run in the ledger, before any private image is read.

        Raises:
            LedgerError: the data set is not registered.
        """
        self._ledger.record_unprotected_run(self._run, f"NOT PRIVATE: {self._what}")

    def committed(self, generation: int) -> NoisyHistogram | None:
        """The generation's CLEAN histogram, if it was counted already."""
        found = artifact.complete(self._folder, generation)
        return artifact.read(found[0])[1] if found else None

    def slots_left(self) -> int:
        """Nothing is charged, so nothing runs out."""
        return 1

    def reserve(self, generation: int, scored_sha256: str, candidate_ids: Sequence[str]) -> Reservation:
        """The query on these candidates. Charges nothing."""
        entry = Reserved(
            run=self._run,
            generation=generation,
            attempt=0,
            slot=generation,
            votes_per_record=self._votes_per_record,
            sigma=0.0,
            candidates_sha256=scored_sha256,
            num_candidates=len(candidate_ids),
            code_version=code_version(),
            epsilon_after=0.0,
        )
        return Reservation(entry, tuple(candidate_ids))

    def measure(self, reservation: Reservation, votes: Iterable[Votes], num_shards: int) -> NoisyHistogram:
        """The CLEAN sum of one vote vector per shard, kept in the closed folder."""
        entry = reservation.entry
        metadata = artifact.Metadata(
            run=self._run,
            generation=entry.generation,
            slot=entry.slot,
            candidates_sha256=entry.candidates_sha256,
            sigma=0.0,
            votes_per_record=entry.votes_per_record,
            noise=_NO_NOISE,
            private=False,
            code_version=entry.code_version,
        )
        ids = reservation.candidate_ids
        path = artifact.write(
            self._folder, metadata, ids, aggregate_votes(votes, num_shards, reservation.query, len(ids)).counts_K
        )
        return artifact.read(path)[1]

    def odometer_reading(self) -> None:
        """None: no epsilon holds."""
