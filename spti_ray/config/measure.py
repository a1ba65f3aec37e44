"""The task of `spti measure`: a figure about the private records that may be published. Unknown keys fail.

All of it is public: nothing in it may come from looking at the private images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from spti_ray.config.loading import ConfigError, parse_section, read_mapping
from spti_ray.config.section import Section
from spti_ray.config.validation_errors import nearest


class CheckpointConfig(Section):
    """A public linear classifier of the embeddings, in place of one that is trained on the release."""

    path: str = Field(min_length=1, description="A safetensors file with `weight` [C, E] and `bias` [C].")
    classes: tuple[str, ...] = Field(min_length=2, description="The label that each row stands for.")


class MeasureTask(Section):
    """What every task has."""

    epsilon: float = Field(gt=0, le=100, description="Of this figure alone; what holds with the release is larger.")
    spare_slots: int = Field(
        default=0, ge=0, le=10, description="Times that a crash may cost the answer; each is paid for with more noise."
    )
    by_class: bool = Field(
        default=False, description="Two counts for each label: the same epsilon, a wider interval of the whole."
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of each interval by itself.")
    embedder: dict[str, Any] | None = Field(
        default=None, description="As runtime.engines.image_embedder; without, that of the run."
    )

    @property
    def kind(self) -> str:
        """Its name in the file."""
        raise NotImplementedError


class LabelAccuracy(MeasureTask):
    """How often a linear probe, which is trained on the release, gives private records their own label."""

    task: Literal["label_accuracy"]
    ridge: float | None = Field(
        default=None,
        gt=0,
        description="Strength of the probe's penalty; without, leave-one-out errors on the release choose it.",
    )
    checkpoint: CheckpointConfig | None = None

    @property
    def kind(self) -> str:
        return self.task


class Coverage(MeasureTask):
    """How many private records have a released image within a radius, by the cosine distance of embeddings."""

    task: Literal["coverage"]
    radius: float | None = Field(default=None, gt=0, lt=2, description="Cosine distance: 1 less the cosine.")
    radius_quantile: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="In place of `radius`: this quantile of the released images' distances to their nearest others.",
    )

    @property
    def kind(self) -> str:
        return self.task

    @model_validator(mode="after")
    def _one_radius(self) -> Coverage:
        if (self.radius is None) == (self.radius_quantile is None):
            raise ValueError("coverage needs either radius or radius_quantile")
        return self


Task = LabelAccuracy | Coverage

TASKS: dict[str, type[LabelAccuracy | Coverage]] = {"label_accuracy": LabelAccuracy, "coverage": Coverage}
"""The tasks by name."""


def load_task(path: Path) -> Task:
    """The task in a YAML file.

    Raises:
        ConfigError: it can't be read, or is none; one line that names the file.
    """
    raw = read_mapping(path, "task file", "a mapping, such as {task: coverage, epsilon: 0.5, radius: 0.3}")
    try:
        return parse_task(raw)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_task(raw: dict[str, Any]) -> Task:
    """The task of a mapping.

    Raises:
        ConfigError: it is none; one line.
    """
    name = raw.get("task")
    if name not in TASKS:
        known = ", ".join(TASKS)
        if not isinstance(name, str):
            raise ConfigError(f"task: required, one of {known}")
        raise ConfigError(f"task: there is no task {name!r}{nearest(name, tuple(TASKS))}")
    return parse_section(TASKS[name], raw)
