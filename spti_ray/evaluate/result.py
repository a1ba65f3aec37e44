"""What an evaluation says. All of it is computed from private images without noise."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spti_ray.config import Section

STATEMENT = (
    "internal: not differentially private. Computed from the private images without noise; never publish it, and a "
    "release that is chosen by it is covered by no epsilon."
)

Better = Literal["lower", "higher", "near 1", "near 0"]


class Metric(Section):
    """One figure. `low` and `high`: its 95 % interval, from `resamples` resamples.

    `yardstick` is what the same figure is for something known, `yardstick_is`: mostly real images instead of generated
    ones, in the same number and against the same reference.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    resamples: int = 0
    yardstick: float | None = None
    yardstick_is: str = ""
    better: Better
    about: str


class EvaluationResult(Section):
    """All figures of one set of images by one judge.

    `independent`: whether the judge is another network than the voters; None if it is not known who voted.
    `skipped`: metric -> why it is not there.
    """

    statement: str = STATEMENT
    name: str
    judge: dict[str, str]
    independent: bool | None = None
    voters: tuple[str, ...] = ()
    seed: int
    dimension: int
    num_given: int
    num_generated: int
    num_reference: int
    num_held_out: int
    num_unusable: int
    metrics: tuple[Metric, ...]
    skipped: dict[str, str] = Field(default={})
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Metric:
        """The metric of that name; KeyError says why it is not there."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(f"{name}: {self.skipped.get(name, 'there is no such metric')}")
