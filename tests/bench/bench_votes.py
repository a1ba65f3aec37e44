"""A shard's votes against the bare matrix product that they need: `pytest tests/bench/bench_votes.py`.

The two are one group, so that the table shows the ratio. Votes include reading the views from their file, quantising
the candidates, and finding the nearest ones.
"""

from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from spti_ray.private.stored import ViewRow, read_views, writing
from spti_ray.private.voting import NO_GROUP, Views, cast_votes, quantise
from spti_ray.types import Candidate, Candidates, FloatArray, ScoredCandidates

RECORDS, CANDIDATES, WIDTH = 20_000, 2_000, 512


@pytest.fixture(scope="module")
def embeddings() -> tuple[FloatArray, FloatArray]:
    """Of records [P, E] and candidates [K, E]."""
    random = np.random.default_rng(0)
    return tuple(random.normal(size=(rows, WIDTH)).astype(np.float32) for rows in (RECORDS, CANDIDATES))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def views(embeddings: tuple[FloatArray, FloatArray], tmp_path_factory: pytest.TempPathFactory) -> Views:
    path: Path = tmp_path_factory.mktemp("views") / "views.arrow"
    with writing(path, ["image"], "key") as file:
        for index, vector in enumerate(quantise(embeddings[0])):
            file.add(ViewRow(index, 0, NO_GROUP, None, {"image": vector}))
    found = read_views(path, ["image"], ("all",), False, "key")
    assert found is not None
    return found[0]


@pytest.mark.benchmark(group="votes")
def test_bare_product(benchmark: BenchmarkFixture, embeddings: tuple[FloatArray, FloatArray]):
    records_PE, candidates_KE = (rows.astype(np.float64) for rows in embeddings)
    benchmark.pedantic(lambda: records_PE @ candidates_KE.T, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="votes")
def test_votes(benchmark: BenchmarkFixture, embeddings: tuple[FloatArray, FloatArray], views: Views):
    items = Candidates(tuple(Candidate(f"g00-{i:05d}", "t", "all", 0) for i in range(CANDIDATES)))
    scored = ScoredCandidates(items, {"image": embeddings[1]}, {"image": 1.0})
    counts_K = benchmark.pedantic(cast_votes, (views, scored, 1), rounds=5, warmup_rounds=1)
    assert counts_K.sum() == RECORDS
