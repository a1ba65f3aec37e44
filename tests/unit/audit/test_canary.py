from dataclasses import replace

import numpy as np
import pytest

from spti_ray.audit.canary import ONE_RUN, Design, run_canary_audit
from spti_ray.dp.aggregation import GateError
from spti_ray.types import CountArray
from spti_ray.votes import Votes

SMALL = Design(runs=1, canaries=2_000, labels=4, guesses=400, confidence=0.95)


class Noise:
    """A source of `scale` times the noise that is asked for, from NumPy: fast."""

    private, name = False, "simulated"

    def __init__(self, scale: float):
        self._scale, self._generator = scale, np.random.default_rng()
        self.sigmas: list[float] = []

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        self.sigmas.append(sigma)
        return counts_K + np.rint(self._generator.normal(0, self._scale * sigma, len(counts_K))).astype(np.int64)


def test_without_noise_every_guess_is_right_so_each_canary_votes_for_its_own_candidate():
    result = run_canary_audit(SMALL, Noise(0))
    assert result.correct == result.guesses == 400
    assert result.refuted and not result.passed
    assert "REFUTES" in result.line()


def test_the_gate_is_asked_for_the_claimed_noise():
    noise = Noise(1)
    told = []
    result = run_canary_audit(replace(SMALL, runs=3), noise, told=lambda what, done, total: told.append((done, total)))
    assert len(noise.sigmas) == 3
    assert told == [(0, 3), (1, 3), (2, 3)]
    assert set(np.round(noise.sigmas, 3)) == {3.742}
    assert result.mu_claimed == pytest.approx(0.268, abs=1e-4)
    assert (result.epsilon_claimed, result.delta_claimed) == (1.0, 1e-5)
    assert result.canaries == 6_000 and result.guesses == 1_200


def test_votes_are_clean_one_per_canary_and_about_half_of_the_coins():
    seen: list[Votes] = []

    def deliver(votes: list[Votes]) -> list[Votes]:
        seen.extend(votes)
        return votes

    run_canary_audit(SMALL, Noise(1), deliver)
    total = sum(vote.counts_K for vote in seen)
    assert len(seen) == 2 and set(np.unique(total)) == {0, 1}
    assert abs(total.sum() - 1_000) < 6 * np.sqrt(500)
    assert all(vote.max_total == vote.counts_K.sum() for vote in seen)


def test_an_audit_that_can_not_see_is_no_pass():
    """Votes that never arrive leave nothing to attack: the bound alone would call that private."""
    design = replace(SMALL, canaries=20_000, labels=40, guesses=4_000)
    silent = run_canary_audit(
        design, Noise(1), lambda votes: [replace(vote, counts_K=0 * vote.counts_K) for vote in votes]
    )
    loud = run_canary_audit(design, Noise(20))
    for result in (silent, loud):
        assert result.blind and not result.refuted and not result.passed
        assert "BLIND" in result.line()


def test_what_the_gate_refuses_ends_the_audit():
    with pytest.raises(GateError, match="sent no votes"):
        run_canary_audit(SMALL, Noise(1), lambda votes: votes[:1])


def test_coins_come_from_the_operating_system_and_not_from_a_seed():
    seen: list[bytes] = []

    def deliver(votes: list[Votes]) -> list[Votes]:
        seen.append(b"".join(vote.counts_K.tobytes() for vote in votes))
        return votes

    for _ in range(2):
        np.random.seed(0)
        run_canary_audit(SMALL, Noise(1), deliver)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("wrong", [{"guesses": 3}, {"labels": 0}, {"labels": 50_001}, {"runs": 0}, {"guesses": 60_000}])
def test_designs_that_make_no_experiment_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        run_canary_audit(replace(ONE_RUN, **wrong), Noise(1))
