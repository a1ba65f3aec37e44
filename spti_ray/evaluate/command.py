"""`spti evaluate`: which images are evaluated, by which judges, and where the figures go (never into a release)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from spti_ray.config import Config, DataConfig, Role
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.evaluate import image_sets, judge_choice
from spti_ray.evaluate import reference as reference_data
from spti_ray.evaluate.bootstrap import RESAMPLES
from spti_ray.evaluate.image_sets import ImageSet
from spti_ray.evaluate.ledger_record import record_evaluation
from spti_ray.evaluate.result import STATEMENT, EvaluationResult
from spti_ray.io.files import private_folder, write_atomic
from spti_ray.io.text_table import Column, text_table
from spti_ray.models.bundled import BUNDLED_PAIR
from spti_ray.private.kinds import Unit
from spti_ray.private.source import describe
from spti_ray.runs.folder import RunDir
from spti_ray.runs.run_file import read_run
from spti_ray.types import SINGLE_LABEL

_OF_A_RELEASE = ("privacy.json", "manifest.parquet", "datasheet.md")


@dataclass(frozen=True)
class EvaluationRequest:
    """The options of `spti evaluate`. `directory` is a run's folder or a folder of images."""

    directory: Path
    reference: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    judges: tuple[str, ...] = ()
    clip: str = BUNDLED_PAIR
    generation: int | Literal["all"] | None = None
    candidates: bool = False
    size: int | None = None
    resamples: int = RESAMPLES
    seed: int = 0
    limit: int = reference_data.LIMIT
    out: Path | None = None
    cache: Path | None = None
    name: str | None = None
    gpu: bool = False


@dataclass(frozen=True)
class _Subject:
    """The image sets to evaluate, and what is known about how they were made. A folder of images has no run."""

    sets: list[ImageSet]
    out: Path
    run_id: str = ""
    config: Config | None = None
    voters: Mapping[Role, Mapping[str, str]] = field(default_factory=dict)


def run_evaluation(request: EvaluationRequest, say: Callable[[str], None]) -> tuple[Path, list[EvaluationResult]]:
    """Evaluate and write `OUT/<name>.json`, which only its owner can read.

    Args:
        request: What to evaluate, and how.
        say: Takes lines for people.

    Returns:
        The path of the written file, and a result for each image set and judge.

    Raises:
        ConfigError, DataError, ModelMissing, EvaluationFailed: one line each, without private content.
    """
    subject = _subject(request)
    file = f"{_name(request, subject)}.json"
    data, unit, label_names = _reference_settings(request, subject.config)
    judges = judge_choice.choose_judges(request.judges, subject.voters)
    describe(data, unit, label_names)
    if subject.config is not None:
        by = ", ".join(name for name, _ in judges)
        say(record_evaluation(request.directory, subject.run_id, subject.config, f"spti evaluate, judged by {by}"))
    else:
        say("a folder of images, not a run: no look was recorded (spti ledger evaluated does it by hand)")
    folder = private_folder(subject.out)
    cache = request.cache or folder / "cache"
    # These imports take seconds, so they come after the checks of the request.
    from spti_ray.evaluate.evaluation import evaluate
    from spti_ray.models.judges import open_image_text_judge, open_judge

    image_text = open_image_text_judge(request.clip, gpu=request.gpu) if any(s.texts for s in subject.sets) else None
    results: list[EvaluationResult] = []
    for judge_name, independent in judges:
        judge = open_judge(judge_name, gpu=request.gpu)
        reference = reference_data.load(
            data,
            judge,
            unit=unit,
            label_names=label_names,
            limit=request.limit,
            seed=request.seed,
            cache=cache,
        )
        # Figures of different generations can only be compared at one size.
        size = min([request.size or len(reference.features_PE), *(len(images.images) for images in subject.sets)])
        for images in subject.sets:
            results.append(
                evaluate(
                    images.images,
                    images.texts,
                    images.labels,
                    reference,
                    judge=judge,
                    image_text=image_text,
                    seed=request.seed,
                    resamples=request.resamples,
                    size=size,
                    name=images.name,
                    voters=judge_choice.describe_voters(subject.voters),
                    independent=independent if subject.config is not None else None,
                    image_text_voted=judge_choice.pair_voted(request.clip, subject.voters),
                )
            )
    path = folder / file
    write_atomic(path, json.dumps(results_document(results), indent=2) + "\n", mode=0o600)
    return path, results


def results_document(results: Sequence[EvaluationResult]) -> dict[str, Any]:
    """The JSON document that is written to disk and that `--json` prints."""
    return {"statement": STATEMENT, "results": [result.model_dump(mode="json") for result in results]}


def _subject(request: EvaluationRequest) -> _Subject:
    directory = request.directory
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such folder; name a run, or a folder of images")
    if request.out is not None:
        _check_private("--out", request.out, directory)
    if request.cache is not None:
        _check_private("--cache", request.cache, directory)
    if (directory / "run.yaml").is_file():
        known = read_run(directory)
        config = parse_config(known["config"])
        out = request.out or private_folder(directory / "internal") / "evaluation"
        run = RunDir(directory, str(known["run"]), config)
        # A look at a re-rendering is a look at the run whose texts it renders.
        run_id = config.certified_run(run.run_id)
        return _Subject(_of_run(request, run), out, run_id, config, judge_choice.voters_of(config))
    if (directory.parent / "run.yaml").is_file():
        raise ConfigError(f"{directory}: is part of a run; name the run's folder, {directory.parent}")
    if request.generation is not None or request.candidates:
        raise ConfigError(f"{directory}: holds no run (no run.yaml), so it has no generations")
    if request.reference is None or request.out is None:
        raise ConfigError(
            f"{directory}: a folder of images, not a run: give --reference DATA, and --out FOLDER for private results"
        )
    return _Subject([image_sets.folder_images(directory)], request.out)


def _of_run(request: EvaluationRequest, run: RunDir) -> list[ImageSet]:
    if request.generation is None:
        if request.candidates:
            raise ConfigError("--candidates needs --generation")
        return [image_sets.release_images(run.release)]
    if request.generation != "all":
        return [image_sets.generation_images(run.generations, request.generation, candidates=request.candidates)]
    voted_on = image_sets.voted_generations(run.generations)
    if not voted_on:
        raise ConfigError(f"{run.path}: no generation has been voted on yet")
    sets = [image_sets.generation_images(run.generations, n, candidates=request.candidates) for n in voted_on]
    # What the first votes chose from: the curve's beginning.
    return sets if request.candidates else [image_sets.generation_images(run.generations, 0, candidates=True), *sets]


def _check_private(option: str, out: Path, directory: Path) -> None:
    """Raise ConfigError if `out` is inside a release or among the images, or if others can read it."""
    for folder in (out.resolve(), *out.resolve().parents):
        if any((folder / name).exists() for name in _OF_A_RELEASE) or folder.name in {"release", "release.partial"}:
            raise ConfigError(f"{option} {out}: is inside a release; what private images give never goes there")
    if out.resolve().is_relative_to(directory.resolve()) and not (directory / "run.yaml").is_file():
        raise ConfigError(f"{option} {out}: is among the images that are evaluated; name a folder elsewhere")
    if out.exists() and (not out.is_dir() or (out.stat().st_mode & 0o077 and any(out.iterdir()))):
        raise ConfigError(f"{option} {out}: others can read what is there; name a new folder, or one with mode 0700")


def _reference_settings(request: EvaluationRequest, config: Config | None) -> tuple[DataConfig, Unit, tuple[str, ...]]:
    """The private data, the privacy unit, and the labels to read: those that the run lists, or () for all there are."""
    changes = {
        "path": request.reference,
        "image_column": request.image_column,
        "label_column": request.label_column,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    if config is None:
        data, unit, names = DataConfig.model_validate(given), "record", ()
    else:
        data, unit = config.data.model_copy(update=given), config.privacy.unit
        names = config.evolution.label_names if config.evolution.labels else ()
    if not names and data.label_column is None and describe(data, unit).kind != "folder":
        names = (SINGLE_LABEL,)
    return data, unit, names


def _name(request: EvaluationRequest, subject: _Subject) -> str:
    if request.name is not None:
        if not request.name or "/" in request.name or request.name.startswith("."):
            raise ConfigError(f"--name {request.name!r}: give a file name without its ending")
        return request.name
    return "generations" if request.generation == "all" else subject.sets[0].name


def table_lines(results: Sequence[EvaluationResult]) -> Iterator[str]:
    """Lines for the terminal: all figures of one result, or one line for each of several results."""
    yield STATEMENT
    if len(results) == 1:
        yield from _one_result(results[0])
    else:
        yield from _several_results(results)


_METRICS = (
    *(Column(min_width=20), Column("value", is_number=True, min_width=9), Column("95 % interval", min_width=18)),
    *(Column("yardstick", is_number=True, min_width=9), Column("what the yardstick is")),
)
_SKIPPED = (Column(min_width=20), Column(is_number=True, min_width=9), Column())


def _one_result(result: EvaluationResult) -> Iterator[str]:
    yield _heading(result)
    rows: list[list[str]] = []
    for metric in result.metrics:
        interval = "" if metric.low is None else f"{metric.low:.4g} to {metric.high:.4g}"
        yardstick = "" if metric.yardstick is None else f"{metric.yardstick:.4g}"
        rows.append([metric.name, f"{metric.value:.4g}", interval, yardstick, metric.yardstick_is])
    headings, *lines = text_table(_METRICS, rows)
    yield headings
    for line, metric in zip(lines, result.metrics, strict=True):
        yield f"{line} ({metric.better}{' is better' if metric.better in {'lower', 'higher'} else ''})"
    yield from text_table(_SKIPPED, ((name, "-", why) for name, why in result.skipped.items()))
    for warning in result.warnings:
        yield f"note: {warning}"


_COLUMNS = ("kid", "cmmd", "frechet_infinity", "frechet", "precision", "recall", "coverage", "vendi", "clip_score")
"""The unbiased figures first."""


def _several_results(results: Sequence[EvaluationResult]) -> Iterator[str]:
    for judge in dict.fromkeys(result.judge["model"] for result in results):
        of_judge = [result for result in results if result.judge["model"] == judge]
        yield _heading(of_judge[0])
        rows = [[result.name, *(_value(result, name) for name in _COLUMNS)] for result in of_judge]
        floors = {metric.name: metric.yardstick for metric in of_judge[0].metrics}
        rows.append(["yardstick", *(f"{floors.get(name) or float('nan'):.4g}" for name in _COLUMNS)])
        figures = (Column(name, is_number=True, min_width=14) for name in _COLUMNS)
        yield from text_table((Column(min_width=24), *figures), rows)
        for warning in dict.fromkeys(warning for result in of_judge for warning in result.warnings):
            yield f"note: {warning}"


def _value(result: EvaluationResult, name: str) -> str:
    return "-" if name in result.skipped else f"{result[name].value:.4g}"


def _heading(result: EvaluationResult) -> str:
    voted = {True: "did not vote", False: "VOTED", None: "who voted is not known"}[result.independent]
    return (
        f"{result.name}: {result.num_generated} of {result.num_given} images against {result.num_reference} real ones, "
        f"judged by {result.judge['model']} ({voted}; {result.dimension} dimensions), seed {result.seed}"
    )
