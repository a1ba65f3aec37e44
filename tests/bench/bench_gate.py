"""How long a generation takes on the private side, at the size limits: `pytest tests/bench/bench_gate.py`."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from spti_ray.dp.aggregation import aggregate_votes
from spti_ray.dp.calibration import plan_at
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import OpenDPNoise
from spti_ray.types import CountArray, NoisyHistogram
from spti_ray.votes import Query, Votes

CANDIDATES = 100_000
SHARDS = 10_000
PER_SHARD = 1_000_000
"""More than any of the prebuilt arrays counts."""
PLAN = plan_at(sigma=11.8, epsilon=1.0, delta=1e-5, votes_per_record=1, generations=20, spare_slots=0)


@pytest.fixture(scope="module")
def arrays() -> list[CountArray]:
    """A few answers that all shards share: 10,000 of their own would be 8 GB."""
    generator = np.random.default_rng(0)
    return [generator.poisson(3.0, CANDIDATES).astype(np.int64) for _ in range(32)]


def votes(query: Query, arrays: list[CountArray]) -> Iterator[Votes]:
    return (Votes(query, shard, arrays[shard % len(arrays)], PER_SHARD) for shard in range(SHARDS))


@pytest.mark.parametrize("sigma", [0.6, 11.8, 160.0])
def test_noise(benchmark: BenchmarkFixture, arrays: list[CountArray], sigma: float):
    noisy_K = benchmark.pedantic(OpenDPNoise().add_noise, (arrays[0], sigma), rounds=3, warmup_rounds=1)
    assert 0.9 * sigma < (noisy_K - arrays[0]).std() < 1.1 * sigma


def test_tally(benchmark: BenchmarkFixture, arrays: list[CountArray]):
    query = Query("run", 0, "ab")
    total = benchmark.pedantic(lambda: aggregate_votes(votes(query, arrays), SHARDS, query, CANDIDATES), rounds=3)
    assert total.max_total == SHARDS * PER_SHARD
    assert total.counts_K[7] == sum(int(arrays[shard % len(arrays)][7]) for shard in range(SHARDS))


def test_a_whole_generation(benchmark: BenchmarkFixture, arrays: list[CountArray], tmp_path: Path):
    """Reserve, sum, noise, artifact, commit and release, with the ledger in a local folder."""
    ledger = Ledger(tmp_path / "ledger", "bench")
    ledger.register(100.0, PLAN.delta)
    gate = Gate(ledger, PLAN, "run", tmp_path / "generations", OpenDPNoise())
    gate.open()
    ids, generations = tuple(f"g00-{i:06d}" for i in range(CANDIDATES)), count()

    def measure() -> NoisyHistogram:
        reservation = gate.reserve(next(generations), "ab", ids)
        return gate.measure(reservation, votes(reservation.query, arrays), SHARDS)

    histogram = benchmark.pedantic(measure, rounds=3)
    assert len(histogram.counts_K) == CANDIDATES
