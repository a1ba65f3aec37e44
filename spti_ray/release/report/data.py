"""Reads what a report shows of a run but for its generations: public and differentially private files only.

The run's private folder is not opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from spti_ray.config.parsing import parse_yaml, read_text
from spti_ray.errors import RunDamaged
from spti_ray.public.datasheet import Signed
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.filtered import Filtered, FiltersUnreadable, filtered_in
from spti_ray.public.release import fallbacks_in, signed_in
from spti_ray.public.released_files import label_counts_in, models_in, read_certificate, read_manifest
from spti_ray.release.report.generations import voted_generations
from spti_ray.release.report.publishable import publishable

_RUN_KEYS = ("run", "code_version", "config_sha256", "seed")


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
        generations=tuple(voted_generations(folder)),
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


def _asks_label_shares(config: Mapping[str, Any]) -> bool:
    """As `Config.asks_label_shares`, of a stored configuration: also of one that this build would refuse."""
    evolution = config.get("evolution")
    return isinstance(evolution, dict) and evolution.get("label_shares") == "voted" and not config.get("origin")
