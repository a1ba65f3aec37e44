"""How long planning takes: `pytest tests/bench/bench_accounting.py`. Caches are cold, the libraries imported."""

import gc

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from spti_ray.dp import accounting, calibration
from spti_ray.dp.accounting import pld_epsilon
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.lifetime import largest_that_fits, lifetime_epsilon

DELTA = 1e-5
CACHES = [
    each for module in (accounting, calibration) for each in vars(module).values() if hasattr(each, "cache_clear")
]


def cold() -> None:
    for cache in CACHES:
        cache.cache_clear()
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    pld_epsilon([(3.0, 1), (4.0, 1)], DELTA)
    lifetime_epsilon([(3.0, 1), (4.0, 1)], DELTA)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0, 50.0])
@pytest.mark.parametrize("generations", [1, 10, 100])
def test_calibrate(benchmark: BenchmarkFixture, generations: int, epsilon: float):
    plan = benchmark.pedantic(calibrate, (epsilon, DELTA, 1, generations), setup=cold, rounds=5)
    assert plan.achieved_epsilon <= epsilon


@pytest.mark.parametrize("generations", [1, 100])
def test_calibrate_at_the_far_corner(benchmark: BenchmarkFixture, generations: int):
    """Ten votes, small epsilon and delta: the largest sigma that anybody may plan, and the slowest."""
    benchmark.pedantic(calibrate, (0.1, 1e-9, 10, generations), setup=cold, rounds=5)


def test_lifetime_of_fifty_runs(benchmark: BenchmarkFixture):
    spent = [(3.0 + run / 7, 10) for run in range(50)]
    benchmark.pedantic(lifetime_epsilon, (spent, DELTA), setup=cold, rounds=3)


def test_what_a_refused_run_is_offered(benchmark: BenchmarkFixture):
    plan = calibrate(2.0, DELTA, 1, 10, 2)
    benchmark.pedantic(largest_that_fits, ([(11.8, 10)], 2.0, DELTA, plan), setup=cold, rounds=3)
