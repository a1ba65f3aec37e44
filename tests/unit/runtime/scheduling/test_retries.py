"""How often something is tried again, and how long is waited before."""

import pytest

from spti_ray.runtime.scheduling.retries import POOL_ACTOR, PRIVATE_CALL, Limits


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (POOL_ACTOR, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]),
        (PRIVATE_CALL, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]),
    ],
)
def test_waits_double_up_to_the_longest(backoff, waits):
    assert [backoff.wait_s(losses) for losses in range(len(waits))] == pytest.approx(waits)


def test_an_actor_that_is_away_for_days_is_still_asked():
    assert POOL_ACTOR.wait_s(10**6) == 5.0


@pytest.mark.parametrize(("failures", "crashes", "given_up"), [(1, 2, False), (2, 0, True), (0, 3, True)])
def test_a_batch_is_given_up_after_so_many_failures_or_crashes(failures, crashes, given_up):
    assert Limits(attempts=2, crashes=3).gives_up(failures, crashes) == given_up
