"""Reads the generations of a run: populations, their noised votes, who was selected, and lineages.

One generation is in memory at a time. Embeddings are never read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.dp import artifact
from spti_ray.errors import RunDamaged
from spti_ray.types import Candidate, CountArray, NoisyHistogram

_CANDIDATE_COLUMNS = ["id", "text", "label", "generation", "parent_id", "operator"]
_HISTOGRAMS = "histogram-*.arrow"


@dataclass(frozen=True)
class GenerationData:
    """One population that was voted on: candidates by falling noised votes, their counts, and who was selected.

    Where themes were voted on, a theme's nearest member stands for it, with the theme's count, and the theme counts as
    selected if that member is.
    """

    number: int
    candidates: tuple[Candidate, ...]
    counts_K: CountArray
    sigma: float
    selected: frozenset[str]
    label: artifact.Metadata
    """The label of the committed histogram, which names its reservation in the ledger."""
    artifact_sha256: str
    members: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many candidates each stands for, by id; empty where they were voted on one by one."""
    num_selected: int = 0
    """Of all candidates."""


def voted_generations(folder: Path) -> list[int]:
    """Generations with a noised histogram, in order."""
    found = (path.parent for path in (folder / "generations").glob(f"*/{_HISTOGRAMS}"))
    return sorted({int(path.name) for path in found if path.name.isdigit()})


def read_generation(folder: Path, number: int) -> GenerationData:
    """Read one generation: candidates joined with their noised votes, most votes first (ties to the lowest id)."""
    where = generation_folder(folder, number)
    label, histogram = read_committed(folder, number)
    votes = dict(zip(histogram.candidate_ids, histogram.counts_K.tolist(), strict=True))
    rows = read_columns(where / "candidates.parquet", columns=_CANDIDATE_COLUMNS).to_pylist()
    members: dict[str, int] = {}
    if (where / "themes.parquet").exists():
        themes = read_columns(where / "themes.parquet", columns=["id", "members"]).to_pylist()
        members = {theme["members"][0]: len(theme["members"]) for theme in themes}
        votes = {theme["members"][0]: votes[theme["id"]] for theme in themes}
    candidates = [Candidate(**row) for row in rows if row["id"] in votes]
    candidates.sort(key=lambda candidate: (-votes[candidate.id], candidate.id))
    selected: frozenset[str] = frozenset()
    if (where / "selected.parquet").exists():
        selected = frozenset(read_columns(where / "selected.parquet", columns=["id"])["id"].to_pylist())
    return GenerationData(
        number=number,
        candidates=tuple(candidates),
        counts_K=np.array([votes[candidate.id] for candidate in candidates], dtype=np.int64),
        sigma=histogram.sigma,
        selected=selected & frozenset(votes),
        label=label,
        artifact_sha256=histogram.artifact_sha256,
        members=members,
        num_selected=len(selected),
    )


def read_committed(folder: Path, number: int) -> tuple[artifact.Metadata, NoisyHistogram]:
    """The committed histogram of one generation, and the label that names its reservation in the ledger."""
    return artifact.charged_last(sorted(generation_folder(folder, number).glob(_HISTOGRAMS)))


def lineages(folder: Path, candidate_ids: Iterable[str], generation: int, first: int = 0) -> list[list[Candidate]]:
    """The ancestors of candidates, oldest first, each chain ending in the candidate itself.

    Args:
        folder: The run's folder.
        candidate_ids: Candidates of `generation`.
        generation: The generation to begin from.
        first: The run's first generation. If the run continues another one, that run's survivors have no ancestors
            here.
    """
    chains: dict[str, list[Candidate]] = {}
    wanted = {candidate_id: candidate_id for candidate_id in candidate_ids}  # chain -> the id looked for
    for number in range(generation, first - 1, -1):
        path = generation_folder(folder, number) / "candidates.parquet"
        if not wanted or not path.exists():
            break
        looked_for = sorted(set(wanted.values()))
        rows = read_columns(path, columns=_CANDIDATE_COLUMNS, filters=[("id", "in", looked_for)]).to_pylist()
        found = {row["id"]: Candidate(**row) for row in rows}
        for chain, candidate_id in list(wanted.items()):
            candidate = found.get(candidate_id)
            # A survivor is in the populations of several generations; its parent only in those before its birth.
            if candidate is None or (candidate.generation != number and number != first):
                continue
            chains.setdefault(chain, []).insert(0, candidate)
            del wanted[chain]
            if candidate.parent_id:
                wanted[chain] = candidate.parent_id
    return list(chains.values())


def read_columns(path: Path, columns: Sequence[str], **more: Any) -> pa.Table:
    """Columns of a file of a run. Raises RunDamaged in one line."""
    try:
        return pq.read_table(path, columns=list(columns), **more)
    except (OSError, ValueError, pa.ArrowException):
        raise RunDamaged(f"{path}: can't be read as Parquet; restore the run's folder") from None


def generation_folder(folder: Path, number: int) -> Path:
    """Where a run keeps a generation."""
    return folder / "generations" / f"{number:02d}"
