"""The generations of a run on disk: candidates with their embeddings, renders, and which candidates were selected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.errors import RunDamaged
from spti_ray.io.files import atomic_file, write_table_atomic
from spti_ray.io.images import read_png
from spti_ray.public.scoring import ScoreCache
from spti_ray.public.themes import Question, Theme
from spti_ray.runs.folder import RunDir
from spti_ray.types import Candidate, Candidates, RenderedImage, ScoredCandidates, Selected, Space

_CANDIDATE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("generation", pa.int32()),
        ("parent_id", pa.string()),
        ("operator", pa.string()),
    ]
)
_IS_CUT = "is_cut"
"""A column of generations with texts that were too long for the renderer."""

_RENDER_SCHEMA = pa.schema(
    [("candidate_id", pa.string()), ("variant", pa.int32()), ("seed", pa.int64()), ("png", pa.binary())]
)
_THEME_SCHEMA = pa.schema([("id", pa.string()), ("label", pa.string()), ("members", pa.list_(pa.string()))])

_RENDERS_AT_A_TIME = 64
"""Renders in memory while they are written or read: a generation may have more than fit."""


class GenerationStore:
    """Writes and reads the candidates, embeddings, renders and selection of each generation.

    Embeddings and renders are taken from the score cache when a generation is written, and put into it when one is
    read.
    """

    def __init__(self, run: RunDir, cache: ScoreCache) -> None:
        self._run = run
        self._cache = cache
        self._on_disk: set[str] = set()

    def folder(self, generation: int) -> Path:
        """The folder of a generation, which need not exist."""
        return self._run.generations / f"{generation:02d}"

    def load(self, generation: int) -> Candidates | None:
        """The candidates of a generation; None if it was never made. Its embeddings and renders go into the cache."""
        file = self.folder(generation) / "candidates.parquet"
        if not file.exists():
            return None
        table = pq.read_table(file)
        # Generations of earlier builds do not say which texts were cut.
        known = [*_CANDIDATE_SCHEMA.names, *(name for name in (_IS_CUT,) if name in table.column_names)]
        rows = table.select(known).to_pylist()
        candidates = Candidates(tuple(Candidate(**row) for row in rows))
        spaces: tuple[Space, ...] = ("image", "text")
        for space in spaces:
            if f"embedding_{space}" in table.column_names:
                matrix_KE = np.stack(table.column(f"embedding_{space}").to_numpy(zero_copy_only=False))
                for candidate, row_E in zip(candidates, matrix_KE.astype(np.float32), strict=True):
                    self._cache.rows[space][candidate.id] = row_E
        self._load_renders(generation)
        return candidates

    def load_themes(self, generation: int) -> tuple[Theme, ...]:
        """The themes in which a stored generation is voted on; none if it is candidate by candidate.

        Raises:
            RunDamaged: the file is damaged.
        """
        return self._load_groups(generation, "themes")

    def load_kin(self, generation: int) -> tuple[Theme, ...]:
        """The groups of similar candidates of a generation that is voted on candidate by candidate; none if its run has
        no themes, or is of a version that made none of it.

        Raises:
            RunDamaged: the file is damaged.
        """
        return self._load_groups(generation, "kin")

    def _load_groups(self, generation: int, name: str) -> tuple[Theme, ...]:
        file = self.folder(generation) / f"{name}.parquet"
        if not file.exists():
            return ()
        try:
            return tuple(
                Theme(row["id"], row["label"], tuple(row["members"])) for row in pq.read_table(file).to_pylist()
            )
        except (OSError, KeyError, pa.ArrowInvalid):
            raise RunDamaged(f"{file}: is damaged; restore the run's folder") from None

    def save(self, generation: int, scored: ScoredCandidates, question: Question | None = None) -> None:
        """Write a generation: its candidates, their embeddings, the renders that no earlier generation wrote, and the
        themes in which it is to be voted on, or else its groups of similar candidates, if it has either."""
        folder = self.folder(generation)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = [
            candidate.id
            for candidate in scored.candidates
            if candidate.id in self._cache.renders and candidate.id not in self._on_disk
        ]
        with (
            atomic_file(folder / "renders.parquet") as file,
            pq.ParquetWriter(file, _RENDER_SCHEMA, compression="zstd") as writer,
        ):
            for first in range(0, len(fresh), _RENDERS_AT_A_TIME):
                few = [self._cache.renders[name] for name in fresh[first : first + _RENDERS_AT_A_TIME]]
                rows = [
                    {name: getattr(render, name) for name in _RENDER_SCHEMA.names}
                    | {"png": bytes(read_png(render.png))}
                    for render in few
                ]
                writer.write_table(pa.Table.from_pylist(rows, schema=_RENDER_SCHEMA))
        self._on_disk.update(fresh)
        table = pa.Table.from_pylist(
            [{name: getattr(candidate, name) for name in _CANDIDATE_SCHEMA.names} for candidate in scored.candidates],
            schema=_CANDIDATE_SCHEMA,
        )
        if any(candidate.is_cut for candidate in scored.candidates):
            table = table.append_column(_IS_CUT, pa.array([candidate.is_cut for candidate in scored.candidates]))
        for space, matrix_KE in scored.embeddings_KE.items():
            column = pa.array(list(matrix_KE), type=pa.list_(pa.float32()))
            table = table.append_column(f"embedding_{space}", column)
        if question and question.kin:
            file = folder / ("themes.parquet" if question.themes else "kin.parquet")
            rows = [{name: getattr(group, name) for name in _THEME_SCHEMA.names} for group in question.kin]
            write_table_atomic(file, pa.Table.from_pylist(rows, schema=_THEME_SCHEMA))
        # Last: a generation counts as made when its candidates are there.
        write_table_atomic(folder / "candidates.parquet", table)

    def save_selected(self, generation: int, selected: tuple[Selected, ...]) -> None:
        """Write which candidates of a generation were selected, in rank order."""
        table = pa.table(
            {
                "id": [item.candidate.id for item in selected],
                "count": pa.array([item.count for item in selected], pa.int64()),
                "share": pa.array([item.share for item in selected], pa.int64()),
            }
        )
        write_table_atomic(self.folder(generation) / "selected.parquet", table)

    def load_selected(self, generation: int, candidates: Candidates) -> tuple[Selected, ...]:
        """What `save_selected` wrote.

        Args:
            generation: its number.
            candidates: those of the generation, as `load` returned them.

        Raises:
            RunDamaged: the file is missing or damaged, or names other candidates.
        """
        file = self.folder(generation) / "selected.parquet"
        by_id = {candidate.id: candidate for candidate in candidates}
        try:
            rows = pq.read_table(file).to_pylist()
            return tuple(Selected(by_id[row["id"]], row["count"], row["share"]) for row in rows)
        except (OSError, KeyError, pa.ArrowInvalid):
            raise RunDamaged(f"{file}: is missing or damaged; restore the run's folder") from None

    def _load_renders(self, generation: int) -> None:
        file = self.folder(generation) / "renders.parquet"
        if not file.exists():
            return
        with pq.ParquetFile(file) as renders:
            for batch in renders.iter_batches(_RENDERS_AT_A_TIME):
                for row in batch.to_pylist():
                    self._cache.renders[row["candidate_id"]] = RenderedImage(**row)
                    self._on_disk.add(row["candidate_id"])


def last_themes(run: RunDir) -> dict[str, str]:
    """The theme, or group of similar ones, of each candidate of a run's last generation, by its id; empty if it has
    none.

    Raises:
        RunDamaged: the file is damaged.
    """
    found = [path.parent.name for path in run.generations.glob("*/selected.parquet")]
    last = max((int(name) for name in found if name.isdigit()), default=None)
    if last is None:
        return {}
    store = GenerationStore(run, ScoreCache())
    groups = store.load_themes(last) or store.load_kin(last)
    return {member: group.id for group in groups for member in group.members}
