"""Reads what a report shows from a run's folder: public and differentially private files only.

One generation is in memory at a time. Embeddings, and renders that are not shown, are never read. The run's private
folder is not opened.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from spti_ray.config.parsing import parse_yaml, read_text
from spti_ray.dp import artifact
from spti_ray.errors import RunDamaged
from spti_ray.public.datasheet import Signed
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.filtered import Filtered, FiltersUnreadable, filtered_in
from spti_ray.public.release import fallbacks_in, signed_in
from spti_ray.public.released_files import label_counts_in, models_in, read_certificate, read_manifest
from spti_ray.types import Candidate, CountArray, NoisyHistogram

_CANDIDATE_COLUMNS = ["id", "text", "label", "generation", "parent_id", "operator"]
_RUN_KEYS = ("run", "code_version", "config_sha256", "seed")
_HISTOGRAMS = "histogram-*.arrow"
_HIDDEN = "(not shown)"
_PLACES = {("data", "path"), ("runtime", "address"), ("origin", "path")} | {
    ("release", "provenance", name) for name in ("certificate", "key_file", "key_env")
}
_SECRET_WORDS = ("key", "token", "secret", "password", "credential", "authorization")


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


@dataclass(frozen=True)
class ReleasedImage:
    """A row of the release's manifest."""

    file: str
    text: str
    label: str
    generation: int
    candidate_id: str


@dataclass(frozen=True)
class RunData:
    """What a report shows of a run, but for the contents of its generations."""

    folder: Path
    run: Mapping[str, Any]
    """The fields of run.yaml that readers of a release need."""
    config: Mapping[str, Any]
    """The resolved configuration without addresses, paths of private data and secrets (`publishable`)."""
    generations: tuple[int, ...]
    """All that were voted on, by number."""
    asks_label_shares: bool
    """Whether the first of them asked for the labels' shares alone, and so has no candidates to show."""
    label_counts: Mapping[str, int]
    """The noised number of records of each label, where the labels' shares were asked for."""
    images: tuple[ReleasedImage, ...]
    models: Mapping[str, Mapping[str, str]]
    certificate: Mapping[str, Any] | None
    fallbacks: FallbackCounts
    filtered: Filtered | None = None
    """What the filters of the release did, if it has any."""
    signed: Signed | None = None
    """Who signed the images."""

    @property
    def candidate_generations(self) -> tuple[int, ...]:
        """Those whose candidates were voted on."""
        return self.generations[1:] if self.asks_label_shares else self.generations


def read_run(folder: Path) -> RunData:
    """Read the run's folder, but for the contents of its generations.

    Raises:
        FileNotFoundError: the folder holds no run, or its release is not written yet.
        RunDamaged: one of its files can't be read.
    """
    folder = Path(folder)
    manifest = folder / "release" / "manifest.parquet"
    for path, what in ((folder / "run.yaml", "no run"), (manifest, "the release is not written yet")):
        if not path.exists():
            raise FileNotFoundError(f"{path}: {what}, so there is nothing to report")
    run, config = _settings(folder)
    columns = ["file", "text", "label", "generation", "candidate_id"]
    # Pictures are taken from what it names: never from outside of the release.
    table = read_manifest(folder / "release", columns)
    return RunData(
        folder=folder,
        run=run,
        config=config,
        generations=tuple(_voted_generations(folder)),
        asks_label_shares=_asks_label_shares(config),
        label_counts=label_counts_in(table),
        images=tuple(ReleasedImage(**row) for row in table.select(columns).to_pylist()),
        models=models_in(table),
        certificate=read_certificate(folder / "release"),
        fallbacks=fallbacks_in(table),
        filtered=_filtered(table),
        signed=signed_in(table.schema.metadata or {}),
    )


def _filtered(table: pa.Table) -> Filtered | None:
    try:
        return filtered_in(table)
    except FiltersUnreadable as error:
        raise RunDamaged(str(error)) from None


def read_run_at_work(folder: Path, committed: Sequence[int]) -> RunData:
    """As `read_run`, of a run that has no release yet.

    Args:
        folder: the run's folder.
        committed: the generations whose histograms are committed in the ledger; nothing of any other is read. None of
            a run that no ledger covers.

    Raises:
        RunDamaged: run.yaml can't be read.
    """
    run, config = _settings(folder)
    return RunData(
        folder=folder,
        run=run,
        config=config,
        generations=tuple(committed),
        asks_label_shares=_asks_label_shares(config),
        label_counts={},
        images=(),
        models={},
        certificate=None,
        fallbacks=FallbackCounts(),
    )


def _settings(folder: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """What run.yaml says that readers of a release need, and the configuration for them."""
    try:
        run = parse_yaml(read_text(folder / "run.yaml"))
    except ValueError:
        raise RunDamaged(f"{folder}: run.yaml can't be read; restore it") from None
    return {key: run[key] for key in _RUN_KEYS if key in run}, publishable(run.pop("config", {}))


def read_generation(folder: Path, number: int) -> GenerationData:
    """Read one generation: candidates joined with their noised votes, most votes first (ties to the lowest id)."""
    where = _generation_folder(folder, number)
    label, histogram = _committed(where)
    votes = dict(zip(histogram.candidate_ids, histogram.counts_K.tolist(), strict=True))
    rows = _table(where / "candidates.parquet", columns=_CANDIDATE_COLUMNS).to_pylist()
    members: dict[str, int] = {}
    if (where / "themes.parquet").exists():
        themes = _table(where / "themes.parquet", columns=["id", "members"]).to_pylist()
        members = {theme["members"][0]: len(theme["members"]) for theme in themes}
        votes = {theme["members"][0]: votes[theme["id"]] for theme in themes}
    candidates = [Candidate(**row) for row in rows if row["id"] in votes]
    candidates.sort(key=lambda candidate: (-votes[candidate.id], candidate.id))
    selected: frozenset[str] = frozenset()
    if (where / "selected.parquet").exists():
        selected = frozenset(_table(where / "selected.parquet", columns=["id"])["id"].to_pylist())
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
    return _committed(_generation_folder(folder, number))


def read_histogram(where: Path) -> NoisyHistogram:
    """The noised histogram of the generation in folder `where`, checked against the hash in its name."""
    return _committed(where)[1]


def _committed(where: Path) -> tuple[artifact.Metadata, NoisyHistogram]:
    return artifact.charged_last(sorted(where.glob(_HISTOGRAMS)))


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
        path = _generation_folder(folder, number) / "candidates.parquet"
        if not wanted or not path.exists():
            break
        looked_for = sorted(set(wanted.values()))
        rows = _table(path, columns=_CANDIDATE_COLUMNS, filters=[("id", "in", looked_for)]).to_pylist()
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


class Pictures:
    """Makes data URIs of pictures, until they have taken `max_bytes` together."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self.bytes_left = max_bytes

    def of_candidates(self, wanted: Mapping[str, int], max_side: int) -> dict[str, str]:
        """URI of each candidate's first render, for `wanted` (candidate id -> the generation it was born in)."""
        pngs: dict[str, tuple[int, bytes]] = {}
        for number in sorted(set(wanted.values())):
            path = _generation_folder(self._folder, number) / "renders.parquet"
            ids = [candidate_id for candidate_id, born in wanted.items() if born == number]
            if path.exists():
                columns = ["candidate_id", "variant", "png"]
                table = _table(path, columns=columns, filters=[("candidate_id", "in", ids)])
                for row in table.to_pylist():
                    known = pngs.get(row["candidate_id"])
                    if known is None or row["variant"] < known[0]:
                        pngs[row["candidate_id"]] = (row["variant"], row["png"])
        uris = {candidate_id: self._uri(png, max_side) for candidate_id, (_, png) in pngs.items()}
        return {candidate_id: uri for candidate_id, uri in uris.items() if uri}

    def of_file(self, file: str, max_side: int) -> str | None:
        """URI of a file of the release folder; None when there is no room left."""
        path = self._folder / "release" / file
        if not path.is_file():  # also a pipe, which would be waited for
            raise RunDamaged(f"{path}: is no file; restore the release")
        return self._uri(path.read_bytes(), max_side)

    def _uri(self, png: bytes, max_side: int) -> str | None:
        kind, data = "png", png
        with Image.open(io.BytesIO(png)) as image:
            # About what a WebP of that size takes: a larger PNG is worth the conversion.
            if max(image.size) > max_side or len(png) > max(8_192, max_side * max_side):
                image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                # What a released image says of itself stays with its picture.
                image.convert("RGB").save(buffer, "WEBP", quality=82, xmp=image.info.get("xmp", b""))
                kind, data = "webp", buffer.getvalue()
        if len(data) > self.bytes_left:
            return None
        self.bytes_left -= len(data)
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def publishable(config: Any, path: Sequence[str] = ()) -> Any:
    """The configuration for readers of a release: what was computed, not where, and without secrets."""
    if isinstance(config, dict):
        return {key: publishable(value, (*path, str(key))) for key, value in config.items()}
    if isinstance(config, list):
        return [publishable(value, path) for value in config]
    where = tuple(path)
    local = where[:1] == ("ledger",) or where in _PLACES
    secret = "options" in where and any(word in where[-1].lower() for word in _SECRET_WORDS) and isinstance(config, str)
    if config is None or not (local or secret) or str(config).startswith("bundled:"):
        return config
    return _HIDDEN


def _asks_label_shares(config: Mapping[str, Any]) -> bool:
    """As `Config.asks_label_shares`, of a stored configuration: also of one that this build would refuse."""
    evolution = config.get("evolution")
    return isinstance(evolution, dict) and evolution.get("label_shares") == "voted" and not config.get("origin")


def _voted_generations(folder: Path) -> list[int]:
    """Generations with a noised histogram, in order."""
    found = (path.parent for path in (folder / "generations").glob(f"*/{_HISTOGRAMS}"))
    return sorted({int(path.name) for path in found if path.name.isdigit()})


def _table(path: Path, columns: Sequence[str], **more: Any) -> pa.Table:
    """Columns of a file of a run. Raises RunDamaged in one line."""
    try:
        return pq.read_table(path, columns=list(columns), **more)
    except (OSError, ValueError, pa.ArrowException):
        raise RunDamaged(f"{path}: can't be read as Parquet; restore the run's folder") from None


def _generation_folder(folder: Path, number: int) -> Path:
    return folder / "generations" / f"{number:02d}"
