"""What the alternative would take: fine-tuning the renderer by DP-SGD (`method: dp-finetune`) on the private images."""

from __future__ import annotations

from dataclasses import dataclass

from spti_ray.config import Config
from spti_ray.planning.costs.estimate import Estimate, RoleWork
from spti_ray.planning.costs.rates import TrainingRate, where


@dataclass(frozen=True)
class Schedule:
    """How long somebody would train. `examples`: forward and backward passes of one example."""

    name: str
    examples: int
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """What DP-SGD would take. Pairs are (least, most); None means that something is not known, which `needed` names.

    `hours`: of one engine, by schedule. `release_h`: hours of rendering the release. `gpus`: GPUs of one engine.
    `ratios`: the work of training over that of the run, by schedule; above 1, the run saves work. `even_at`: examples
    at which both take equally much work. `is_bound`: not all of the run's hours are known, so the true ratios may be
    smaller and the true `even_at` larger.
    """

    schedules: tuple[Schedule, ...]
    hours: tuple[tuple[float, float], ...] | None
    release_h: float | None
    gpus: float
    rate: TrainingRate | None
    ratios: tuple[tuple[float, float], ...] | None
    even_at: tuple[float, float] | None
    is_bound: bool
    assumed: tuple[str, ...]
    needed: tuple[str, ...]


def examples_of(config: Config) -> int:
    """Forward and backward passes of one example in `method: dp-finetune`: steps times batch size times draws."""
    settings = config.finetune
    return settings.steps * settings.batch_size * settings.draws


def schedules_of(found: Estimate) -> tuple[Schedule, ...]:
    """The schedule of the configuration's `finetune`, and the published ones if the number of records was stated."""
    settings = found.config.finetune
    configured = Schedule(
        "as configured",
        examples_of(found.config),
        (
            f"{settings.steps} steps of {settings.batch_size} records, {settings.draws} draw(s) of each "
            "(finetune.steps, batch_size, draws), at the expected size of batches",
        ),
    )
    if found.private_records is None:
        return (configured,)
    return configured, *(
        Schedule(recipe.name, round(recipe.passes * found.private_records), (f"{recipe.said}. {recipe.source}",))
        for recipe in found.rates.published.recipes
    )


def training_of(found: Estimate) -> Training:
    """Compare the run with training, at the rate of the renderer's model or of the nearest known one."""
    engine = found.engines.renderer
    schedules, rate = schedules_of(found), found.rates.of_training(engine)
    renderer = found.rates.of("renderer", engine)
    release = None if renderer is None else found.config.release.images * renderer.seconds(engine)[0] / 3600
    hours = None if rate is None else tuple(_hours(schedule.examples, rate) for schedule in schedules)
    ratios = even = None
    ours, gpus = _work(found), engine.num_gpus or 1
    if rate and hours and release is not None and ours:
        ratios = tuple((gpus * (least + release) / ours, gpus * (most + release) / ours) for least, most in hours)
        left = max(0.0, ours / gpus - release) * 3600 * rate.per_s
        even = (left / rate.slower[1], left / rate.slower[0])
    return Training(
        schedules,
        hours,
        release,
        engine.num_gpus,
        rate,
        ratios,
        even,
        not found.is_whole,
        tuple(_assumed(found, rate)),
        tuple(_needed(found, rate, release)),
    )


def _assumed(found: Estimate, rate: TrainingRate | None) -> list[str]:
    engine = found.engines.renderer
    lines = ["reading the records and encoding them are not in it, nor is the search for settings"]
    if rate and engine.model not in rate.models:
        lines.append(f"{rate.models[0]} stands in for {engine.model}, of whose training no rate is known")
    if rate and rate.pixels and rate.slower != (1.0, 1.0):
        slower = f"{rate.slower[0]:g} to {rate.slower[1]:g}"
        lines.append(f"images of {rate.pixels} pixels; DP-SGD {slower} times slower than SGD")
    lines.append("how good the images are is another question (`jobs/curve.py` compares that at the same epsilon)")
    return lines


def _needed(found: Estimate, rate: TrainingRate | None, release: float | None) -> list[str]:
    engine = found.engines.renderer
    lines: list[str] = []
    if rate is None:
        lines.append(
            f"how many examples a second {engine.model} trains {where(engine)}: --rates of a dp-finetune run, or "
            "`training:` in a file"
        )
    if release is None:
        lines.append("the renderer's rate, for the images of the release")
    if found.unknown:
        lines.append("every rate of the run")
    if found.private_records is None:
        lines.append("--private-records")
    return lines


def _hours(examples: int, rate: TrainingRate) -> tuple[float, float]:
    hours = examples / rate.per_s / 3600
    return hours * rate.slower[0], hours * rate.slower[1]


def _work(found: Estimate) -> float:
    """GPU-hours where the renderer has a GPU, else hours of all engines."""
    return sum(_of(work, found.engines.renderer.num_gpus > 0) for work in found.roles)


def _of(work: RoleWork, on_gpu: bool) -> float:
    return (work.gpu_h if on_gpu else work.engine_h) or 0.0
