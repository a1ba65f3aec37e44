"""How fast engines are, and who says so: measured here (`spti bench`, a run), given in a file, or published elsewhere.

A rate is used only for its own model and kind of engine, and a rate of a GPU only for engines on a GPU. Nothing is
guessed: what depends on a rate that is not there is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from spti_ray.config import EngineConfig, Role, Section
from spti_ray.config.loading import parse_section, read_mapping

PUBLISHED = Path(__file__).with_name("published.yaml")


class Measurement(Section):
    """What every rate says of itself: models, GPUs, size of images, hardware, how it was measured and by whom."""

    models: tuple[str, ...] = Field(min_length=1)
    gpus: float = Field(ge=0, description="Of one engine when it was measured; 0: none.")
    pixels: int | None = Field(default=None, ge=1, description="Of a side of the images.")
    hardware: str
    measured: str
    source: str


class EngineRate(Measurement):
    """The rate of one engine of a role: items or output tokens per second, or a renderer's seconds by its steps."""

    role: Role
    kind: str | None = None
    of: Literal["items", "tokens"] = "items"
    per_s: float | None = Field(default=None, gt=0)
    fixed_s: float = Field(default=0.0, ge=0)
    step_s: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1, description="Numbers in an embedding.")
    one_at_a_time: bool = Field(default=False, description="Of one item in a call: an engine with a batch is faster.")

    @model_validator(mode="after")
    def _says_how_fast(self) -> EngineRate:
        if (self.per_s is None) == (self.step_s is None):
            raise ValueError("give per_s, or step_s of a renderer")
        return self

    def is_of(self, role: Role, engine: EngineConfig) -> bool:
        """Whether it may be used for this engine."""
        return (
            self.role == role
            and engine.model in self.models
            and self.kind in (None, engine.kind)
            and (self.gpus > 0) == (engine.num_gpus > 0)
        )

    def is_least(self, engine: EngineConfig) -> bool:
        """Whether the engine is hardly faster than this: the rate is of full batches, and of a GPU that it asks for."""
        return not self.one_at_a_time and (not engine.accelerators or self.hardware in engine.accelerators)

    def seconds(self, engine: EngineConfig) -> tuple[float, tuple[str, ...]]:
        """(seconds of one item or output token by the engine as configured, what was assumed beyond the source)."""
        steps, pixels = steps_of(engine), pixels_of(engine)
        assumed: list[str] = []
        if self.step_s is not None:
            if steps is None:
                assumed.append(f"options.steps is not set: {self.steps} steps, as measured")
            taken = self.fixed_s + self.step_s * (steps or self.steps or 1)
            if steps and self.steps and steps != self.steps:
                assumed.append(f"{steps} steps from a measurement of {self.steps}: steps alike in time")
        else:
            taken = 1 / self.per_s if self.per_s else 0.0
            if steps and self.steps and steps != self.steps:
                taken *= steps / self.steps
                assumed.append(f"{steps} steps from a measurement of {self.steps}: in proportion")
        if self.pixels and pixels is None and self.role == "renderer":
            assumed.append(f"options.height and width are not set: {self.pixels} pixels, as measured")
        if self.pixels and pixels and pixels != self.pixels**2:
            taken *= pixels / self.pixels**2
            assumed.append(f"{pixels**0.5:.0f} pixels from a measurement of {self.pixels}: in proportion to the area")
        return taken, tuple(assumed)


class TrainingRate(Measurement):
    """Examples per second, forward and backward.

    `slower`: the least and the most factor by which DP-SGD is slower than what was measured; 1 if DP-SGD was measured.
    """

    per_s: float = Field(gt=0)
    slower: tuple[float, float] = (1.0, 1.0)


class Recipe(Section):
    """A published training by DP-SGD: passes over the private records."""

    name: str
    passes: float = Field(gt=0)
    said: str
    source: str


class RatesFile(Section):
    """The form of `published.yaml`, and of files of one's own."""

    rates: tuple[EngineRate, ...] = ()
    training: tuple[TrainingRate, ...] = ()
    recipes: tuple[Recipe, ...] = ()


@dataclass(frozen=True)
class Rates:
    """What is known; `given` comes before `published`. `png_bytes`: (mean bytes, pixels) of a finished run's images."""

    given: RatesFile
    published: RatesFile
    png_bytes: tuple[float, int] | None = None

    def of(self, role: Role, engine: EngineConfig) -> EngineRate | None:
        """The first given rate, else the published one on the GPU that the engine prefers; None if there is none."""
        for rate in self.given.rates:
            if rate.is_of(role, engine):
                return rate
        fitting = [rate for rate in self.published.rates if rate.is_of(role, engine)]
        return min(fitting, key=lambda rate: _wish(rate, engine), default=None)

    def of_training(self, engine: EngineConfig) -> TrainingRate | None:
        """A rate of the renderer's model; else a published one of any model, of the nearest size of image."""
        on_gpu = engine.num_gpus > 0
        for rate in (*self.given.training, *self.published.training):
            if engine.model in rate.models and (rate.gpus > 0) == on_gpu:
                return rate
        others = [rate for rate in self.published.training if (rate.gpus > 0) == on_gpu]
        side = (pixels_of(engine) or 512**2) ** 0.5
        return min(others, key=lambda rate: abs((rate.pixels or 0) - side), default=None)

    def width_of(self, role: Role, engine: EngineConfig) -> int | None:
        """How many numbers an embedding of the engine has; None where no rate says so."""
        known = (*self.given.rates, *self.published.rates)
        return next((r.width for r in known if r.width and r.role == role and engine.model in r.models), None)


@cache
def published() -> RatesFile:
    """The rates that come with the package."""
    return read_rates(PUBLISHED)


def read_rates(path: Path) -> RatesFile:
    """Read a file in the form of `published.yaml`.

    Raises:
        ConfigError: it can't be read, or is nothing of the kind.
    """
    return parse_section(
        RatesFile, read_mapping(path, "file of rates", "`rates:` or `training:`, as in published.yaml")
    )


def steps_of(engine: EngineConfig) -> int | None:
    """Denoising steps of a renderer; None where its pipeline decides."""
    return engine.options.get("steps")


def pixels_of(engine: EngineConfig) -> int | None:
    """Pixels of a renderer's image; None where its pipeline decides."""
    height, width = engine.options.get("height"), engine.options.get("width")
    return height * width if height and width else None


def where(engine: EngineConfig) -> str:
    """Whether the engine has a GPU, in words."""
    return "on a GPU" if engine.num_gpus else "without a GPU"


def merged(parts: Iterable[RatesFile]) -> RatesFile:
    """The rates of all files in their order."""
    parts = tuple(parts)
    return RatesFile(
        rates=tuple(rate for part in parts for rate in part.rates),
        training=tuple(rate for part in parts for rate in part.training),
    )


def _wish(rate: EngineRate, engine: EngineConfig) -> int:
    """The place of the rate's GPU among the kinds that the engine accepts, the best first; last if it is none."""
    kinds = engine.accelerators
    return kinds.index(rate.hardware) if rate.hardware in kinds else len(kinds)
