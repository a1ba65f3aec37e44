"""The canary audit: an attacker with the best strategy against the real vote, the real gate and the real ledger.

Each canary is put into a made-up data set by its own fair coin, from the operating system's entropy, and is the only
record nearest to its own candidate. Its count is then 0 or 1, plus noise. The attacker knows everything but the coins
and the noise. It guesses "in" for the largest noised counts and "out" for the smallest, and abstains on the rest, which
is optimal for Gaussian noise. `bounds` turns the number of correct guesses into a lower bound on mu, which must not
exceed what the plan claims.
"""

from __future__ import annotations

import math
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spti_ray.audit.bounds import best_accuracy, mu_from_many_runs, mu_from_one_run
from spti_ray.audit.discrete_gaussian import gaussian_dp_mu
from spti_ray.dp.calibration import NoisePlan, calibrate
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import NoiseSource, OpenDPNoise
from spti_ray.private.views import Views, quantise
from spti_ray.private.voting import cast_votes
from spti_ray.step_progress import Told, untold
from spti_ray.types import Candidate, Candidates, CountArray, FloatArray, ScoredCandidates
from spti_ray.votes import Query, Votes

Deliver = Callable[[list[Votes]], Iterable[Votes]]
"""From the shards' results to what reaches the gate; tests use it to lose results or send them twice."""

EPSILON, DELTA = 1.0, 1e-5
"""The claim that is audited, for one query with one vote per record: sigma 3.74, mu 0.268."""

_SHARDS = 2
_WIDTH = 32
"""Dimension of the embeddings: no two random directions are near one another."""
_JITTER = 0.02
"""Length of a canary's distance from its candidate, per dimension."""
_BLIND = 6.0
"""How many standard deviations below the expected number of correct guesses an attacker counts as blind; a gate that
does as it claims gets there with probability below 1e-7."""

# 500 ledgers take thousands of fsyncs, and durability is not audited here, so they are in memory where possible.
_SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True)
class Design:
    """The design of an audit, fixed before the first coin is thrown.

    Figures are per run; every run has its own data set and ledger.
    """

    runs: int
    canaries: int
    labels: int
    guesses: int
    """Even: half of them "in", half "out"."""
    confidence: float


ONE_RUN = Design(runs=1, canaries=50_000, labels=50, guesses=2_000, confidence=0.95)
"""One query of full size, which finds gross faults: half the noise passes with probability below 1e-15. At the
confidence that one run allows, noise that is 1.5 times too small passes in one of ten audits, and no other number of
guesses does better. A correct gate, whose noise is independent, fails with 1e-7, far below the bound's promise."""

MANY_RUNS = Design(runs=500, canaries=100, labels=2, guesses=40, confidence=1 - 1e-6)
"""As many canaries over 500 gates. A correct gate fails with probability below 1e-6 by the bound's own promise (1e-9 as
its noise is independent); noise 1.5 times too small, or one of two shards counted twice, passes with 1e-7 at most."""


@dataclass(frozen=True)
class CanaryResult:
    """What the attacker achieved. The numbers of canaries and guesses are totals over all runs."""

    design: Design
    noise: str
    canaries: int
    guesses: int
    correct: int
    expected: float
    """Expected number of correct guesses at the claimed noise."""
    mu_lower_bound: float
    """At `design.confidence`."""
    mu_claimed: float
    epsilon_claimed: float
    delta_claimed: float
    refuted: bool
    """The bound exceeds the claim."""
    blind: bool
    """The attacker did far worse than expected: votes were lost, or there was more noise. The audit might have missed a
    fault."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the audit found no fault and could have found one."""
        return not (self.refuted or self.blind)

    def line(self) -> str:
        """The result in one line, for people."""
        name = "one-run canary audit" if self.design.runs == 1 else f"canary audit over {self.design.runs} runs"
        verdict = "REFUTES the claim" if self.refuted else "BLIND: it could not have seen a fault"
        return (
            f"{name}: {self.correct} of {self.guesses} guesses right (claimed noise: about {self.expected:.0f}), "
            f"mu >= {self.mu_lower_bound:.3f} at {100 * self.design.confidence:.6g} % confidence, "
            f"claimed {self.mu_claimed:.3f}: {'consistent' if self.passed else verdict}"
        )


def run_canary_audit(
    design: Design = MANY_RUNS,
    noise: NoiseSource | None = None,
    deliver: Deliver | None = None,
    told: Told = untold,
) -> CanaryResult:
    """Attack the installed gate. Works in a temporary folder.

    A correct gate is refuted with probability at most 1 - design.confidence.

    Args:
        noise: the noise source to attack; None: `OpenDPNoise`. Tests plant faults in it.
        deliver: what becomes of the shards' results on their way to the gate; None: they arrive as they are.
        told: is told how far it is.

    Raises:
        ValueError: the design is inconsistent.
    """
    if design.guesses % 2 or not 1 <= design.labels <= design.canaries or design.runs < 1:
        raise ValueError(f"guesses must be even, labels in 1..{design.canaries}, and runs at least 1")
    began = time.monotonic()
    noise = noise or OpenDPNoise()
    plan = calibrate(EPSILON, DELTA, votes_per_record=1, generations=1)
    claimed = gaussian_dp_mu(plan.sigma)
    accuracy = best_accuracy(claimed, design.canaries, design.guesses)
    with tempfile.TemporaryDirectory(prefix="spti-audit-", dir=_SCRATCH) as folder:
        correct: list[int] = []
        for run in range(design.runs):
            told(f"canary audit over {design.runs} run(s)", run, design.runs)
            correct.append(_play(design, plan, noise, deliver or list, Path(folder), run))

    if design.runs == 1:
        bound = mu_from_one_run(design.canaries, design.guesses, correct[0], design.confidence)
    else:
        bound = mu_from_many_runs(design.canaries, design.guesses, correct, design.confidence)
    guesses = design.runs * design.guesses
    deviation = math.sqrt(guesses * accuracy * (1 - accuracy))
    return CanaryResult(
        design=design,
        noise=noise.name,
        canaries=design.runs * design.canaries,
        guesses=guesses,
        correct=sum(correct),
        expected=guesses * accuracy,
        mu_lower_bound=bound,
        mu_claimed=claimed,
        epsilon_claimed=EPSILON,
        delta_claimed=DELTA,
        refuted=bound > claimed,
        blind=sum(correct) < guesses * accuracy - _BLIND * deviation,
        seconds=time.monotonic() - began,
    )


def _play(design: Design, plan: NoisePlan, noise: NoiseSource, deliver: Deliver, folder: Path, run: int) -> int:
    """Play one run of the game. Returns the number of correct guesses."""
    generator = np.random.default_rng(secrets.randbits(128))
    coins_K = generator.integers(0, 2, design.canaries).astype(bool)
    scored = _candidates(design, generator)

    ledger = Ledger(folder / "ledger", f"canaries-{run}")
    ledger.register(None, plan.delta)
    gate = Gate(ledger, plan, f"audit-{run}", folder / f"run-{run}", noise)
    gate.open()
    reservation = gate.reserve(0, scored.sha256(), [candidate.id for candidate in scored.candidates])
    votes = _votes(reservation.query, scored, coins_K, generator)
    histogram = gate.measure(reservation, deliver(votes), _SHARDS)
    return _correct_guesses(histogram.counts_K, coins_K, design.guesses, generator)


def _candidates(design: Design, generator: np.random.Generator) -> ScoredCandidates:
    """One candidate per canary, in random directions, the labels in turn."""
    items = tuple(
        Candidate(f"g00-{i:07d}", f"canary {i}", f"label {i % design.labels}", 0) for i in range(design.canaries)
    )
    return ScoredCandidates(Candidates(items), {"image": _directions(design.canaries, generator)}, {"image": 1.0})


def _directions(number: int, generator: np.random.Generator) -> FloatArray:
    vectors_KE = generator.standard_normal((number, _WIDTH), dtype=np.float32)
    return vectors_KE / np.linalg.norm(vectors_KE, axis=1, keepdims=True)


def _votes(
    query: Query, scored: ScoredCandidates, coins_K: npt.NDArray[np.bool_], generator: np.random.Generator
) -> list[Votes]:
    """The votes of the canaries whose coin says "in", in shards at random."""
    members = generator.permutation(np.flatnonzero(coins_K))
    labels = scored.candidates.labels
    label_names = tuple(dict.fromkeys(labels))
    code_of = {label: code for code, label in enumerate(label_names)}
    votes: list[Votes] = []
    for shard, rows in enumerate(np.array_split(members, _SHARDS)):
        jitter_PE = generator.normal(0, _JITTER, (len(rows), _WIDTH)).astype(np.float32)
        vectors_PE = scored.embeddings_KE["image"][rows] + jitter_PE
        codes_P = np.array([code_of[labels[row]] for row in rows], dtype=np.int32)
        views = Views({"image": quantise(vectors_PE)}, codes_P, label_names)
        votes.append(Votes(query, shard, cast_votes(views, scored, k=1), max_total=views.num_units))
    return votes


def _correct_guesses(
    counts_K: CountArray, coins_K: npt.NDArray[np.bool_], guesses: int, generator: np.random.Generator
) -> int:
    """How many of the attacker's guesses are right. Equal counts are ordered at random."""
    order = np.lexsort((generator.random(len(counts_K)), counts_K))
    said_out, said_in = order[: guesses // 2], order[-(guesses // 2) :]
    return int(coins_K[said_in].sum() + (~coins_K[said_out]).sum())
