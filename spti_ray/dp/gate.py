"""The gate. Rule held here: clean votes become a noised histogram nowhere else, and exactly once per charge.

Formal guarantee: over all its attempts, a run draws noise at most once per RESERVED entry of its ledger. Each draw has
the planned sigma and is added to the sum of one vote vector per shard, and only the result of `add_noise` is stored or
returned.

A generation goes RESERVED (charged, durable) -> votes -> noise -> artifact -> COMMITTED -> RELEASED. `open` settles
what a crash left: without a complete artifact the reservation is burned, a complete artifact is adopted, a committed
one is used again. No result is ever noised a second time.

    gate = Gate(ledger, plan, run, directory / "generations", OpenDPNoise(), config_sha256)
    gate.open()
    histogram = gate.committed(g) or gate.measure(gate.reserve(g, scored.sha256(), ids), votes, num_shards)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spti_ray.dp import artifact
from spti_ray.dp.aggregation import GateError, aggregate_votes
from spti_ray.dp.artifact import ArtifactError
from spti_ray.dp.build import build, code_version
from spti_ray.dp.calibration import NoisePlan
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Reserved
from spti_ray.dp.history import Slot, slots_of
from spti_ray.dp.joint_guarantee import JointGuarantee, charged_joint_epsilon, joint_guarantee
from spti_ray.dp.lease import Lease
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import NoiseSource
from spti_ray.dp.odometer import OdometerReading, read_odometer
from spti_ray.types import NoisyHistogram
from spti_ray.votes import Query, Votes


@dataclass(frozen=True)
class Reservation:
    """A query that is charged and not measured yet. Public."""

    entry: Reserved
    candidate_ids: tuple[str, ...]

    @property
    def query(self) -> Query:
        """The question that is put to the shards, and that their votes must answer."""
        return Query(self.entry.run, self.entry.generation, self.entry.candidates_sha256)

    @property
    def generation(self) -> int:
        """The generation whose candidates are voted on."""
        return self.entry.generation

    @property
    def slot(self) -> int:
        """The number of this charge within its run, from 0."""
        return self.entry.slot


class Gate:
    """The gate of one run.

    Args:
        plan: the noise that the configuration asks for. A resumed run keeps the sigma that its ledger records.
        folder: the run's `generations` folder.
        config_sha256: the configuration's hash, for the ledger.
        unit: the privacy unit, "record" or "group".
        origin: the run that this one continues from; empty if none.
        fault: a hook for crash tests, called at each step of the protocol with its name: opened, before_reserved,
            after_reserved, after_votes, after_draw, in_artifact, after_artifact, after_committed, after_released; and
            while a crash is being settled: adopted, burned.
        outside: the engines outside the cluster that are shown private images, a line each, for the ledger.
        holdout: the share of the units that the shards do not use; the ledger checks it.
    """

    def __init__(
        self,
        ledger: Ledger,
        plan: NoisePlan,
        run: str,
        folder: str | Path,
        noise: NoiseSource,
        config_sha256: str = "",
        unit: str = "record",
        origin: str = "",
        fault: Callable[[str], None] | None = None,
        outside: str = "",
        holdout: float = 0.0,
    ) -> None:
        self.ledger, self.plan, self.run, self.folder = ledger, plan, run, Path(folder)
        self._noise, self._config_sha256, self._unit = noise, config_sha256, unit
        self._origin, self._outside, self._holdout = origin, outside, holdout
        self._fault: Callable[[str], None] = fault or _no_fault
        self._lease: Lease | None = None
        self._drawn: set[int] = set()  # slots that this process has noised

    def open(self) -> None:
        """Take the run, fence out earlier drivers, and settle what a crash left. Call once, before models load.

        Raises:
            LedgerError: the ledger is broken, or the run was started with other settings.
            BudgetRefused: the queries that are left can't be paid.
            ArtifactError: a histogram is damaged, or has no charge in this ledger.
        """
        noise = self._noise
        self._check_artifacts()
        self._lease = self.ledger.open_run(
            self.run,
            self.plan,
            self._config_sha256,
            noise.name,
            noise.private,
            self._unit,
            build(),
            origin=self._origin,
            outside=self._outside,
            holdout=self._holdout,
        )
        self.plan = self._lease.plan  # a resumed run keeps its sigma
        self._fault("opened")
        artifact.remove_temporary(self.folder)
        for slot in slots_of(self.ledger.entries(), self.run):
            found = self._artifact_of(slot.reserved)
            if slot.burned and found:
                found.unlink()  # written by a driver that was fenced out; nobody has read it
            elif slot.open and found:
                self._lease.commit(slot.reserved, artifact.read(found)[1].artifact_sha256)
                self._fault("adopted")
                self._lease.release(slot.reserved)
            elif slot.open:
                self._lease.burn(slot.reserved, "no complete artifact when the run was resumed")
                self._fault("burned")
            elif slot.artifact_sha256 is not None:
                self._load(slot)
                if not slot.released:
                    self._lease.release(slot.reserved)

    @property
    def note(self) -> str:
        """A line for people about the noise of a resumed run; empty if there is nothing to say."""
        return self._lease.note if self._lease else ""

    def committed(self, generation: int) -> NoisyHistogram | None:
        """The generation's committed histogram, read back and checked; None if it has none.

        Raises:
            ArtifactError: the file is missing, altered or of another reservation.
        """
        for slot in slots_of(self.ledger.entries(), self.run):
            if slot.reserved.generation == generation and slot.artifact_sha256 is not None:
                return self._load(slot)
        return None

    def slots_left(self) -> int:
        """Queries that the run may still make, spares included."""
        return max(0, self.plan.slots - len(slots_of(self.ledger.entries(), self.run)))

    def reserve(self, generation: int, scored_sha256: str, candidate_ids: Sequence[str]) -> Reservation:
        """Charge one query on these candidates. No vote may be cast before this returns; the charge is durable then.

        Args:
            scored_sha256: `ScoredCandidates.sha256`, which ties votes and histogram to these candidates.

        Raises:
            SlotsExhausted: the run has no query left.
            BudgetRefused: the dataset's budget does not cover the query.
            GateError: candidates repeat, or are fewer than the votes of a record.
        """
        ids = tuple(candidate_ids)
        if generation < 0 or len(set(ids)) != len(ids) or len(ids) < self.plan.votes_per_record:
            raise GateError(
                f"generation {generation} must be >= 0 with distinct candidates, at least votes_per_record "
                f"({self.plan.votes_per_record}) of them"
            )
        self._fault("before_reserved")
        entry = self._open_lease().reserve(generation, scored_sha256, len(ids), code_version())
        self._fault("after_reserved")
        return Reservation(entry, ids)

    def burn(self, reservation: Reservation, reason: str) -> None:
        """Give up a reservation whose votes can't be obtained; its charge stays. `reason` must be public."""
        self._open_lease().burn(reservation.entry, reason)

    def measure(self, reservation: Reservation, votes: Iterable[Votes], num_shards: int) -> NoisyHistogram:
        """Sum one vote vector per shard, add noise once, store, commit, and release the noised histogram.

        Raises:
            GateError: before the draw, votes are missing, contradictory or out of bounds; the reservation stays open
                and may be measured with the right votes. A failure after the draw burns it, or leaves a complete
                artifact that the next `open` adopts.
            LedgerError: the reservation is no longer open, or another driver has taken the run (FencedOut).
        """
        lease, entry = self._open_lease(), reservation.entry
        if entry.slot in self._drawn:
            raise GateError(f"slot {entry.slot} has been noised already; open the run again to settle it")
        lease.check_open(entry)  # another driver may have burned it: a draw would never be used
        total = aggregate_votes(votes, num_shards, reservation.query, len(reservation.candidate_ids))
        self._fault("after_votes")
        self._drawn.add(entry.slot)
        try:
            noisy_K = self._noise.add_noise(total.counts_K, entry.sigma)
            del total  # the clean sum is private; nothing after this line can reach it
            self._fault("after_draw")
            metadata = self._metadata(entry)
            path = artifact.write(self.folder, metadata, reservation.candidate_ids, noisy_K, self._fault)
        except BaseException as error:
            # Drawing again would answer the same question twice for one charge. If the ledger can't be written
            # either, `open` burns the reservation instead.
            with contextlib.suppress(LedgerError):
                lease.burn(entry, "failed between the noise draw and the artifact")
            if isinstance(error, OSError):
                raise GateError(f"can't write a histogram in {self.folder}: {error.strerror}") from None
            raise
        histogram = artifact.read(path)[1]
        self._fault("after_artifact")
        lease.commit(entry, histogram.artifact_sha256)
        self._fault("after_committed")
        lease.release(entry)
        self._fault("after_released")
        return histogram

    def odometer_reading(self) -> OdometerReading:
        """What the run and its dataset have spent so far, from the verified ledger."""
        return read_odometer(self.ledger.entries(), self.run)

    def joint_guarantee(self) -> JointGuarantee | None:
        """The guarantee of a release that depends on earlier runs too; None for a run that continues from none."""
        return joint_guarantee(self.ledger.entries(), self.run, self.plan)

    def release_epsilon(self) -> tuple[float, float]:
        """(charged, planned): epsilon of all queries that the release depends on, at the run's delta.

        These are the queries of this run and of those that it continues from: those charged so far, and all planned.
        """
        joint = self.joint_guarantee()
        planned = joint.epsilon if joint else max(self.plan.epsilon, self.plan.achieved_epsilon)
        return charged_joint_epsilon(self.ledger.entries(), self.run, self.plan.delta), planned

    def _open_lease(self) -> Lease:
        if self._lease is None:
            raise GateError("the gate is not open: call open() first")
        return self._lease

    def _metadata(self, entry: Reserved) -> artifact.Metadata:
        return artifact.Metadata(
            run=self.run,
            generation=entry.generation,
            slot=entry.slot,
            candidates_sha256=entry.candidates_sha256,
            sigma=entry.sigma,
            votes_per_record=entry.votes_per_record,
            noise=self._noise.name,
            private=self._noise.private,
            code_version=entry.code_version,
        )

    def _load(self, slot: Slot) -> NoisyHistogram:
        """The histogram of a committed slot; its hash and content must be those of the reservation."""
        path = artifact.path_of(self.folder, slot.reserved.generation, slot.artifact_sha256 or "")
        metadata, histogram = artifact.read(path)
        if not _matches(metadata, histogram, slot.reserved):
            raise ArtifactError(f"histogram {path} is of another reservation than the ledger says; restore it")
        return histogram

    def _artifact_of(self, entry: Reserved) -> Path | None:
        """The complete artifact of this reservation, if there is one."""
        found = [
            path for path in artifact.complete(self.folder, entry.generation) if _matches(*artifact.read(path), entry)
        ]
        if len(found) > 1:
            raise ArtifactError(
                f"{len(found)} histograms in {found[0].parent} claim slot {entry.slot}; keep the first run's"
            )
        return found[0] if found else None

    def _check_artifacts(self) -> None:
        """Refuse a folder with histograms that have no charge in the ledger: the ledger was lost or cut back."""
        folders = artifact.generations(self.folder)
        paths = [path for generation in folders for path in artifact.complete(self.folder, generation)]
        slots = slots_of(self.ledger.entries(), self.run)  # read last: a charge comes before its artifact
        for path in paths:
            metadata, histogram = artifact.read(path)
            if not any(_matches(metadata, histogram, slot.reserved) for slot in slots):
                raise ArtifactError(
                    f"histogram {path} has no charge for run {self.run!r} in ledger {self.ledger.location}: "
                    "restore the ledger, or use another run folder"
                )


def _matches(metadata: artifact.Metadata, histogram: NoisyHistogram, entry: Reserved) -> bool:
    return (
        (metadata.run, metadata.generation, metadata.slot) == (entry.run, entry.generation, entry.slot)
        and (metadata.candidates_sha256, metadata.sigma) == (entry.candidates_sha256, entry.sigma)
        and len(histogram.candidate_ids) == entry.num_candidates
    )


def _no_fault(point: str) -> None:
    """The hook of a gate that is not under a crash test."""
