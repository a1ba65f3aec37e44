"""The result of an evaluation. All of it is computed from private images without noise, so it is INTERNAL."""

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
    """One metric. `low` and `high`: its 95 % interval, from `resamples` bootstrap resamples.

    `yardstick`: the same metric of something known, which `yardstick_is` names. Mostly that is as many real images,
    measured against the same reference.
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
    """All metrics of one set of images by one judge.

    `independent`: whether the judge is another network than the voters; None if it is not known who voted.
    `skipped`: metric -> why it was not computed. `reference`: a hash of the private records that it is measured
    against (empty in results of earlier versions): two results with the same one, judge and seed have one half A.
    """

    statement: str = STATEMENT
    name: str
    judge: dict[str, str]
    independent: bool | None = None
    voters: tuple[str, ...] = ()
    reference: str = ""
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
