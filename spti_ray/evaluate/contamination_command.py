"""`spti audit --contamination`: compares, records the look, and writes the figures for the owner alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spti_ray.evaluate import image_sets, judge_choice
from spti_ray.evaluate.contamination_subject import ContaminationRequest, Subject, captions_of, subject_of
from spti_ray.evaluate.contamination_words import NOT_SHOWN, Kind
from spti_ray.evaluate.image_sets import ImageSet
from spti_ray.evaluate.ledger_record import record_evaluation
from spti_ray.evaluate.membership import held_out_needed, too_few
from spti_ray.evaluate.reference import MIN_RECORDS, EvaluationFailed, Reference, TooFewRecords, load
from spti_ray.evaluate.result import STATEMENT
from spti_ray.io.files import private_folder, write_atomic
from spti_ray.models.presence import check_judge
from spti_ray.models.protocols import Judge
from spti_ray.step_progress import Told, untold

PAGE, FIGURES = "contamination.html", "contamination.json"

_NO_CAPTIONS = "no run of method captions was named; --captions RUN_DIR takes the folder of one on the same records"


def run_contamination(request: ContaminationRequest, say: Callable[[str], None], told: Told = untold) -> Path:
    """Compare a run's images with records that voted and records that never did; write figures and a page.

    Both are in the run's internal folder, and only its owner can read them.

    Args:
        request: what to compare.
        say: takes lines for people, in which nothing depends on a record.
        told: is told how far it is.

    Returns:
        The path of the page.

    Raises:
        ConfigError, DataError, LedgerError, ModelMissing, EvaluationFailed: one line each, without private content.
    """
    subject = subject_of(request)
    captions = captions_of(request, subject)
    sets: dict[Kind, ImageSet] = {"release": image_sets.release_images(subject.run.release)}
    for name in request.judges:
        check_judge("--judge", name)
    judges = judge_choice.choose_judges(request.judges, judge_choice.voters_of(subject.config))
    opened = judge_choice.open_judges(judges, request.gpu, told)
    by = ", ".join(name for name, _ in judges)
    run_id = subject.config.certified_run(subject.run.run_id)
    say(record_evaluation(request.directory, run_id, subject.config, f"spti audit --contamination, judged by {by}"))
    # These imports take seconds, so they come after the checks of the request.
    from spti_ray.evaluate.contamination import Compared, Parts, compare
    from spti_ray.evaluate.contamination_page import Pictures, write_contamination_page
    from spti_ray.evaluate.first_generation import NotMade, first_generation
    from spti_ray.evaluate.known_features import KnownFeatures

    lacking: dict[Kind, str] = {}
    try:
        sets["generation 0"] = first_generation(subject.run, render=request.render, seed=request.seed, told=told)
    except NotMade as reason:
        lacking["generation 0"] = str(reason)
    if captions is None:
        lacking["renders of captions"] = _NO_CAPTIONS
    else:
        sets["renders of captions"] = captions
    folder = private_folder(subject.run.internal / "evaluation")
    found: list[Compared] = []
    pictures: Pictures | None = None
    for judge, independent in opened:
        voted, held_out = (
            _records(is_held_out, subject, judge, request, folder / "cache", told) for is_held_out in (False, True)
        )
        parts = Parts(voted, held_out, other_data=subject.part == "voting")
        if parts.num_same and parts.other_data:
            raise EvaluationFailed("--holdout: some of its records are among those that voted; give others")
        known = KnownFeatures(folder / "embeddings", judge, _without_numbers(told))
        for kind, images in sets.items():
            features_NE = known.of(images, range(len(images.images)))
            told(f"comparing {kind}", 0, 0)
            guarantee = subject.guarantee if kind == "release" else None
            compared = compare(
                features_NE, parts, kind, judge=judge.identity(), independent=independent, guarantee=guarantee,
                seed=request.seed,
            )  # fmt: skip
            found.append(compared)
        pictures = pictures or Pictures(subject, sets, parts, found.copy())
    assert pictures is not None
    document: dict[str, Any] = {
        "statement": STATEMENT,
        "sets": [compared.figures.model_dump(mode="json") for compared in found],
        "not_made": lacking,
        "same_records": pictures.parts.num_same,
        "sampled": request.limit in {len(part.features_PE) for part in (pictures.parts.voted, pictures.parts.held_out)},
        "not_shown": list(NOT_SHOWN),
    }
    write_atomic(subject.run.internal / FIGURES, json.dumps(document, indent=2) + "\n", mode=0o600)
    told("pictures", 0, 0)
    page = subject.run.internal / PAGE
    write_contamination_page(page, document, [compared.figures for compared in found], pictures)
    return page


def _records(
    is_held_out: bool, subject: Subject, judge: Judge, request: ContaminationRequest, cache: Path, told: Told
) -> Reference:
    """PRIVATE: the features of the records that voted, or of those that never did.

    Raises:
        DataError, EvaluationFailed: they can't be read, are too few, or the judge fails on them.
    """
    data, part = (subject.held_out, subject.part) if is_held_out else (subject.voted, "voting")
    unit, names, of, seed = subject.config.privacy.unit, subject.label_names, request.limit, request.seed
    least = held_out_needed() if is_held_out else MIN_RECORDS
    try:
        return load(
            data, judge, unit=unit, label_names=names, limit=of, seed=seed, cache=cache, told=told, part=part,
            least=least,
        )  # fmt: skip
    except TooFewRecords as error:
        raise EvaluationFailed(too_few(unit) if is_held_out else str(error)) from None


def _without_numbers(told: Told) -> Told:
    """For renders of captions: how many there are depends on the records."""
    return lambda what, done, total: told(what, 0, 0)
