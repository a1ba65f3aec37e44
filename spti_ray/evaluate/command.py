"""`spti evaluate`: which images are evaluated, by which judges, and where the figures go (never into a release)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from spti_ray.config import Config, DataConfig, Role
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.evaluate import image_sets, judge_choice
from spti_ray.evaluate import reference as reference_data
from spti_ray.evaluate.bootstrap import RESAMPLES, Floats
from spti_ray.evaluate.image_sets import ImageSet
from spti_ray.evaluate.ledger_record import record_evaluation
from spti_ray.evaluate.reference import EvaluationFailed, Reference
from spti_ray.evaluate.result import STATEMENT, EvaluationResult
from spti_ray.io.files import private_folder, write_atomic
from spti_ray.models.bundled import BUNDLED_PAIR
from spti_ray.models.presence import check_judge
from spti_ray.models.protocols import Judge
from spti_ray.private.kinds import DataError, Unit
from spti_ray.private.source import describe
from spti_ray.runs.folder import RunDir
from spti_ray.runs.output_places import check_folder
from spti_ray.runs.run_file import read_run
from spti_ray.step_progress import Told, untold
from spti_ray.types import SINGLE_LABEL

_OF_A_RELEASE = ("privacy.json", "manifest.parquet", "datasheet.md")


@dataclass(frozen=True)
class EvaluationRequest:
    """The options of `spti evaluate`. `directory` is a run's folder or a folder of images."""

    directory: Path
    reference: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    held_out: str | None = None
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


def run_evaluation(
    request: EvaluationRequest, say: Callable[[str], None], told: Told = untold
) -> tuple[Path, list[EvaluationResult]]:
    """Evaluate and write `OUT/<name>.json`, and `OUT/<name>.html` with pictures, which only their owner can read.

    Args:
        request: What to evaluate, and how.
        say: Takes lines for people.
        told: Is told how far it is.

    Returns:
        The path of the written JSON, and a result for each image set and judge.

    Raises:
        ConfigError, DataError, ModelMissing, EvaluationFailed: one line each, without private content.
    """
    subject = _subject(request)
    file = f"{_name(request, subject)}.json"
    with _named_by("--reference", request.reference):
        data, unit, label_names = _reference_settings(request, subject.config)
    for name in request.judges:
        check_judge("--judge", name)
    judges = judge_choice.choose_judges(request.judges, subject.voters)
    with _named_by("--reference", request.reference):
        describe(data, unit, label_names)
    held_out = _held_out_settings(request, data, unit, label_names)
    if has_texts := any(images.texts for images in subject.sets):
        check_judge("--clip", request.clip)
    opened = judge_choice.open_judges(judges, request.gpu, told)
    # These imports take seconds, so they come after the checks of the request.
    from spti_ray.models.judges import open_image_text_judge

    image_text = open_image_text_judge(request.clip, gpu=request.gpu) if has_texts else None
    if subject.config is not None:
        by = ", ".join(name for name, _ in judges)
        say(record_evaluation(request.directory, subject.run_id, subject.config, f"spti evaluate, judged by {by}"))
    else:
        say("a folder of images, not a run: no look was recorded (spti ledger evaluated does it by hand)")
    folder = private_folder(subject.out)
    cache = request.cache or folder / "cache"
    from spti_ray.evaluate.evaluation import evaluate
    from spti_ray.evaluate.known_features import KnownFeatures
    from spti_ray.evaluate.page import Shown, write_evaluation_page

    results: list[EvaluationResult] = []
    shown: Shown | None = None
    for judge, independent in opened:

        def load(data: DataConfig, judge: Judge = judge) -> Reference:
            of, seed = request.limit, request.seed
            return reference_data.load(
                data, judge, unit=unit, label_names=label_names, limit=of, seed=seed, cache=cache, told=told
            )

        reference = _named("the reference", load, data)
        held_out_images = None if held_out is None else _named("--held-out", load, held_out)
        # Figures of different generations can only be compared at one size.
        size = min([request.size or len(reference.features_PE), *(len(images.images) for images in subject.sets)])
        known = KnownFeatures(folder / "embeddings", judge, told)
        for number, images in enumerate(subject.sets):

            def embed(
                numbers: Sequence[int],
                images: ImageSet = images,
                reference: Reference = reference,
                known: KnownFeatures = known,
                number: int = number,
                is_first: bool = not results or results[0].judge == judge.identity(),
            ) -> Floats:
                nonlocal shown
                features_NE = known.of(images, numbers)
                told(f"measuring {images.name}", number, len(subject.sets))
                if is_first:  # its pictures are of the last set
                    shown = Shown(images, numbers, features_NE, reference, data, unit, label_names)
                return features_NE

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
                    held_out=held_out_images,
                    embed=embed,
                )
            )
    path = folder / file
    write_atomic(path, json.dumps(results_document(results), indent=2) + "\n", mode=0o600)
    assert shown is not None
    told("pictures", 0, 0)
    write_evaluation_page(path.with_suffix(".html"), results, shown)
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
    if request.candidates:
        return sets
    # What the first votes on candidates chose from: the curve's beginning.
    return [image_sets.generation_images(run.generations, voted_on[0], candidates=True), *sets]


def _check_private(option: str, out: Path, directory: Path) -> None:
    """Raise ConfigError if `out` is in a release, among the images, where others can read, or can't be written."""
    for folder in (out.resolve(), *out.resolve().parents):
        if any((folder / name).exists() for name in _OF_A_RELEASE) or folder.name in {"release", "release.partial"}:
            raise ConfigError(f"{option} {out}: is inside a release; what private images give never goes there")
    if out.resolve().is_relative_to(directory.resolve()) and not (directory / "run.yaml").is_file():
        raise ConfigError(f"{option} {out}: is among the images that are evaluated; name a folder elsewhere")
    check_folder(option, out, internal=True)
    if out.exists() and (not out.is_dir() or (out.stat().st_mode & 0o077 and any(out.iterdir()))):
        raise ConfigError(f"{option} {out}: others can read what is there; name a new folder, or one with mode 0700")


def _reference_settings(request: EvaluationRequest, config: Config | None) -> tuple[DataConfig, Unit, tuple[str, ...]]:
    """The private data, the privacy unit, and the labels to read: those that the run lists, or () for all there are."""
    changes = {
        "path": request.reference,
        # Other data than the run's: nothing of them is held out.
        "holdout": None if request.reference is None else 0.0,
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


def _named(what: str, load: Callable[[DataConfig], Reference], data: DataConfig) -> Reference:
    """Load real images. Raises EvaluationFailed in the name of what they are for if they are too few."""
    try:
        return load(data)
    except EvaluationFailed as error:
        raise EvaluationFailed(f"{what}: {error}") from None


@contextmanager
def _named_by(option: str, path: str | None) -> Iterator[None]:
    """Tell what is wrong with data in the words of who named them: the option, or the run where `path` is None."""
    try:
        yield
    except DataError as error:
        if path is None:
            raise
        raise DataError(f"{option}: {str(error).removeprefix('data.path: ')}") from None


def _held_out_settings(
    request: EvaluationRequest, data: DataConfig, unit: Unit, label_names: tuple[str, ...]
) -> DataConfig | None:
    """The images to test classifiers on, with the same columns as the reference. None if none are asked for."""
    if request.held_out is None:
        return None
    if label_names == (SINGLE_LABEL,):
        raise ConfigError("--held-out: only labels are tested on it, and the reference has none; give --label-column")
    held_out = data.model_copy(update={"path": request.held_out, "holdout": 0.0})
    with _named_by("--held-out", request.held_out):
        describe(held_out, unit, label_names)
    return held_out


def _name(request: EvaluationRequest, subject: _Subject) -> str:
    if request.name is not None:
        if not request.name or "/" in request.name or request.name.startswith("."):
            raise ConfigError(f"--name {request.name!r}: give a file name without its ending")
        return request.name
    return "generations" if request.generation == "all" else subject.sets[0].name
