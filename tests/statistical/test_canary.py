"""Audit 3 of the privacy contract: canaries through the whole gate, claimed mu 0.268, and every planted fault caught.

Many runs have the confidence 1 - 1e-6: our code fails once in a million runs at most, and each fault that is judged by
them passes with probability below 1e-7. One run of 50,000 canaries can't tell noise that is 1.5 times too small at any
respectable confidence (see `spti_ray.audit.canary.ONE_RUN`), so it is held to half the noise.
"""

from dataclasses import replace

import pytest

from spti_ray.audit.canary import MANY_RUNS, ONE_RUN, run_canary_audit
from spti_ray.votes import Votes
from tests.statistical import faults

FEWER_RUNS = replace(MANY_RUNS, runs=200)
"""Enough for gross faults."""


def one_shard_counted_twice(votes: list[Votes]) -> list[Votes]:
    """As a sum that the gate's aggregation can't tell from an honest one."""
    first = votes[0]
    return [replace(first, counts_K=2 * first.counts_K, max_total=2 * first.max_total), *votes[1:]]


@pytest.mark.parametrize("name", ["one_run", "many_runs"])
def test_the_lower_bound_stays_below_the_claim_for_our_code(report, name):
    result = getattr(report, name)
    assert result.canaries == 50_000 and result.mu_claimed == pytest.approx(0.268, abs=1e-3)
    assert result.passed, result.line()
    assert 0.1 < result.mu_lower_bound < result.mu_claimed  # not vacuous either


@pytest.mark.parametrize(
    ("noise", "deliver"),
    [(faults.scaled(1 / 1.5), None), (None, one_shard_counted_twice)],
    ids=["sigma/1.5", "a double-counted shard"],
)
def test_the_lower_bound_exceeds_the_claim_for_subtle_faults(noise, deliver):
    result = run_canary_audit(MANY_RUNS, noise, deliver)
    assert result.refuted and not result.passed, result.line()


@pytest.mark.parametrize("factor", [1 / 2, 0], ids=["sigma/2", "no noise"])
def test_the_lower_bound_exceeds_the_claim_for_gross_faults(factor):
    assert run_canary_audit(FEWER_RUNS, faults.scaled(factor)).refuted


def test_one_run_sees_half_the_noise():
    assert run_canary_audit(ONE_RUN, faults.scaled(1 / 2)).refuted


def test_shards_that_answer_twice_and_in_any_order_count_once():
    result = run_canary_audit(FEWER_RUNS, deliver=lambda votes: [*reversed(votes), *votes])
    assert result.passed, result.line()
