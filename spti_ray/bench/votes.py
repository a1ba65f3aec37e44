"""Measures a shard's votes against the bare matrix product that they need, on random vectors; and on a device.

Votes include reading the views from their file, quantising the candidates, and finding the nearest ones. The device is
the GPU of this process or, where there is none, torch's CPU device; there the vectors are kept after the first round.
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
    """Compare the time of votes, by NumPy and on a device, with that of NumPy's product of float64 matrices.

    All are medians of alternate rounds.

    Args:
        records: Number of records.
        candidates: Number of candidates.
        width: Dimensions of an embedding.
        rounds: Rounds that are measured, after one to warm up.

    Returns:
        Seconds, and the product's over those of NumPy's votes; `on_device` names the device, and counts its votes.

    Raises:
        RuntimeError: the device's counts are not NumPy's.
    """
    from spti_ray.private.device import device_name, on_any_device  # imports torch, which other parts do without

    on_device = on_any_device()
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
        if not np.array_equal(cast_votes(views, scored, 1, on_device), cast_votes(views, scored, 1)):
            raise RuntimeError(f"votes on {device_name()} are not those of NumPy")
        taken = [
            (
                _seconds(lambda: np.matmul(wide_PE, wide_KE.T, out=product_PK)),
                _seconds(lambda: cast_votes(views, scored, 1)),
                _seconds(lambda: cast_votes(views, scored, 1, on_device)),
            )
            for _ in range(rounds + 1)
        ][1:]
    product_s, votes_s, device_s = (median(times) for times in zip(*taken, strict=True))
    return {
        "records": records,
        "candidates": candidates,
        "width": width,
        "product_s": round(product_s, 6),
        "votes_s": round(votes_s, 6),
        "ratio": round(median(product / vote for product, vote, _ in taken), 4),
        "on_device": {
            "device": device_name(),
            "by": "torch, float64",
            "votes_s": round(device_s, 6),
            "records_per_s": round(records / device_s),
            "over_numpy": round(votes_s / device_s, 4),
        },
    }


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
