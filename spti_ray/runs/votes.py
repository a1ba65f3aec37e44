"""What the noised votes in a run's folder say by themselves."""

from __future__ import annotations

import pyarrow.parquet as pq

from spti_ray.dp import artifact
from spti_ray.public.vote_spread import Spread, spread_of, together
from spti_ray.runs.folder import RunDir


def spread_in(run: RunDir) -> Spread | None:
    """The spread of all noised votes of a run; None if there are none, or no noise in them.

    Raises:
        ArtifactError: a histogram is damaged.
    """
    found: list[Spread] = []
    for number in artifact.generations(run.generations):
        folder = run.generations / f"{number:02d}"
        paths = artifact.complete(run.generations, number)
        if not paths:
            continue
        metadata, histogram = artifact.charged_last(paths)
        if not metadata.sigma:
            return None
        themes = folder / "themes.parquet"
        table = pq.read_table(themes if themes.exists() else folder / "candidates.parquet", columns=["id", "label"])
        label_of = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
        labels = [label_of[name] for name in histogram.candidate_ids]
        found.append(spread_of(histogram.counts_K.tolist(), labels, metadata.sigma))
    return together(found) if found else None
