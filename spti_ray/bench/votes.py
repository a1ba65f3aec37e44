"""Measures a shard's votes against the bare matrix product that they need, on random vectors.

Votes include reading the views from their file, quantising the candidates, and finding the nearest ones.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from spti_ray.private.view_store import ViewRow, read_views, view_writer
from spti_ray.private.views import NO_GROUP, quantise
from spti_ray.private.voting import cast_votes
from spti_ray.types import Candidate, Candidates, ScoredCandidates


def votes(records: int = 20_000, candidates: int = 2_000, width: int = 512, rounds: int = 5) -> dict[str, Any]:
    """Compare the time of votes with that of NumPy's product of float64 matrices: medians of alternate rounds.

    Args:
        records: Number of records.
        candidates: Number of candidates.
        width: Dimensions of an embedding.
        rounds: Rounds that are measured, after one to warm up.
    """
    draw = np.random.default_rng(0)
    records_PE = draw.normal(size=(records, width)).astype(np.float32)
    candidates_KE = draw.normal(size=(candidates, width)).astype(np.float32)
    items = Candidates(tuple(Candidate(f"g00-{number:05d}", "t", "all", 0) for number in range(candidates)))
    scored = ScoredCandidates(items, {"image": candidates_KE}, {"image": 1.0})
    wide_PE, wide_KE = records_PE.astype(np.float64), candidates_KE.astype(np.float64)
    product_PK = np.empty((records, candidates))  # there before the clock runs: new pages would cost as much again
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "views.arrow"
        with view_writer(path, ["image"], "key") as file:
            for number, vector in enumerate(quantise(records_PE)):
                file.add(ViewRow(number, 0, NO_GROUP, None, {"image": vector}))
        found = read_views(path, ["image"], ("all",), False, "key")
        if found is None:
            raise RuntimeError("the views can't be read back")
        views = found[0]
        pairs = [
            (
                _seconds(lambda: np.matmul(wide_PE, wide_KE.T, out=product_PK)),
                _seconds(lambda: cast_votes(views, scored, 1)),
            )
            for _ in range(rounds + 1)
        ][1:]
    return {
        "records": records,
        "candidates": candidates,
        "width": width,
        "product_s": round(median(product for product, _ in pairs), 6),
        "votes_s": round(median(vote for _, vote in pairs), 6),
        "ratio": round(median(product / vote for product, vote in pairs), 4),
    }


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
