"""What a study compares: cells, each a run by one method at one epsilon with one seed, and the ratios asked of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spti_ray.config.loading import ConfigError, read_mapping

Settings = tuple[str, ...]
"""Overrides of the configuration, `a.b=value`, as for `spti run --set`."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ratio(_Section):
    """A median over another: `of` and `over` name cells without their seed, such as `spti@1`."""

    of: str
    over: str
    at_most: float | None = None


class Study(_Section):
    """The file that `jobs/curve.py` reads. All of it is public."""

    config: Path
    set: Settings = ()
    not_private: Settings = Field(default=(), description="More settings of cells that are not private.")
    sets: dict[str, Settings] = Field(default={}, description="Private sets, on each of which everything is done.")
    seeds: tuple[int, ...] = (0, 1, 2)
    size: Annotated[int, Field(ge=10)] = Field(description="Images that are compared, of each cell.")
    held_out: str | None = Field(
        default=None, description="Real images with labels that never vote: classifiers of releases are tested on them."
    )
    judges: tuple[str, ...] = Field(default=(), description="The first counts; empty: the default of spti evaluate.")
    metric: str = Field(default="frechet_infinity", description="What ratios and plots are of.")
    epsilons: tuple[float, ...] = ()
    methods: dict[str, Settings] = Field(default={}, description="Methods that are run at every epsilon.")
    once: dict[str, Settings] = Field(default={}, description="Methods that have no epsilon.")
    ablations_at: float = 1.0
    ablations: dict[str, dict[str, Settings]] = Field(
        default={}, description="For each question its answers but the usual one: spti with these settings."
    )
    ratios: dict[str, Ratio] = {}


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    `series` is its method, or `question: answer` of an ablation; `subject` its private set, where there are several.
    """

    series: str
    epsilon: float | None
    seed: int
    settings: Settings
    subject: str = ""

    @property
    def group(self) -> str:
        """The cell without its seed and set: `spti@1`, `random`, `voting: caption@1`."""
        return self.series if self.epsilon is None else f"{self.series}@{self.epsilon:g}"

    @property
    def folder(self) -> str:
        """Its run's folder."""
        plain = "".join(c if c.isalnum() or c in "-.@" else "-" for c in self.group.replace(": ", "--"))
        return f"{self.subject}--{plain}-seed{self.seed}" if self.subject else f"{plain}-seed{self.seed}"


def read_study(path: Path) -> Study:
    """Raises ConfigError with one line: what, where."""
    raw = read_mapping(path, "study", "a YAML mapping, as jobs/curve.yaml")
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    groups = {cell.group for cell in cells(study)}
    for name, ratio in study.ratios.items():
        for group in (ratio.of, ratio.over):
            if group not in groups:
                raise ConfigError(f"{path}: ratios.{name}: no cell is {group!r}; there are {', '.join(sorted(groups))}")
    return study


def cells(study: Study) -> list[Cell]:
    """All runs, seed by seed, so that a study that is cut short has whole columns; the ratios' cells come first."""
    found: list[Cell] = []
    for seed in study.seeds:
        for subject in study.sets or ("",):
            for series, settings in study.once.items():
                found.append(_cell(study, subject, series, None, seed, (f"method={series}", *settings)))
            for epsilon in study.epsilons:
                for series, settings in study.methods.items():
                    found.append(_cell(study, subject, series, epsilon, seed, (f"method={series}", *settings)))
            for question, answers in study.ablations.items():
                for answer, settings in answers.items():
                    series = f"{question}: {answer}"
                    found.append(_cell(study, subject, series, study.ablations_at, seed, settings))
    asked = {group for ratio in study.ratios.values() for group in (ratio.of, ratio.over)}
    return sorted(found, key=lambda cell: cell.group not in asked)


def _cell(study: Study, subject: str, series: str, epsilon: float | None, seed: int, settings: Settings) -> Cell:
    more: list[str] = [*study.sets.get(subject, ()), f"runtime.seed={seed}"]
    if epsilon is not None:
        more.append(f"privacy.epsilon={epsilon:g}" if math.isfinite(epsilon) else "privacy.epsilon=inf")
    if epsilon == math.inf or "method=captions" in settings:
        more += study.not_private
    # What a cell is for has the last word.
    return Cell(series, epsilon, seed, (*study.set, *more, *settings), subject)


def as_document(study: Study) -> dict[str, Any]:
    """For the results, in plain values."""
    return study.model_dump(mode="json")
