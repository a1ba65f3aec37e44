"""Checks the files of a measurement: its figure is that of its noised counts, and they are those of its probe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spti_ray.config.loading import ConfigError
from spti_ray.config.measure import parse_task
from spti_ray.config.parsing import parse_json
from spti_ray.dp import artifact
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import slots_of
from spti_ray.errors import RunDamaged
from spti_ray.public.figure import figure
from spti_ray.release.checks import Check, find_field
from spti_ray.runs.measures import FIGURE_FILE, MEASURE_FILE, MEASURES, figure_section, load_probe

_GENERATIONS = "generations"


def is_measure(document: Mapping[str, Any]) -> bool:
    """Whether a certificate is that of a figure, and not of images."""
    named = document.get("release")
    return isinstance(named, Mapping) and "figure_sha256" in named


def why_unfinished(folder: Path) -> str:
    """Why a measurement's folder has no answer to check, in one line; empty for any other folder.

    The answer is written last, and just before it the certificate.
    """
    if (folder / FIGURE_FILE).exists():
        return ""
    if (folder / MEASURE_FILE).is_file():
        if (folder / "privacy.json").exists():
            return f"{folder}: has a certificate, but no {FIGURE_FILE}; restore it, or the same spti measure writes it"
        return (
            f"{folder}: an unfinished measurement, which has no {FIGURE_FILE} yet, so there is nothing to verify; the "
            "same spti measure goes on with it"
        )
    is_empty = folder.resolve().parent.name == MEASURES and not any(folder.iterdir())
    return f"{folder}: holds no measurement: it was refused before it began" if is_empty else ""


def check_figure(folder: Path, document: Mapping[str, Any]) -> Iterator[Check]:
    """Check `figure.json` against the certificate and the noised counts, and these against the probe.

    Where the folder has no counts or no probe any more, as where the figure alone was published, that is left open.
    """
    file, named = folder / FIGURE_FILE, document["release"]
    try:
        text = file.read_bytes()
        answer = parse_json(text.decode(), twice=False)
    except (OSError, ValueError):
        yield Check("release.figure_sha256", False, f"{file} can't be read as JSON")
        return
    same = named == figure_section(text)
    yield Check("release.figure_sha256", same, str(named.get("figure_sha256")) if same else "figure.json is another")
    if not isinstance(answer, dict):
        yield Check("figure", False, "is no JSON object")
        return
    yield from _check_counts(folder, document, answer)
    yield from _check_probe(folder, answer)


def check_committed(folder: Path, entries: Sequence[Entry], run: str) -> Iterator[Check]:
    """Check that the figure is of the very counts that the ledger says were noised for this measurement."""
    try:
        answer = parse_json((folder / FIGURE_FILE).read_text(encoding="utf-8"), twice=False)
        counts, probe = answer["counts_sha256"], answer["probe_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        yield Check("figure's counts", False, f"{FIGURE_FILE} does not name them")
        return
    slots = [slot for slot in slots_of(entries, run) if slot.artifact_sha256 is not None]
    same = [(slot.artifact_sha256, slot.reserved.candidates_sha256) for slot in slots] == [(counts, probe)]
    yield Check("figure's counts", same, "those of the ledger, on that probe" if same else "the ledger has others")


def _check_counts(folder: Path, document: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[Check]:
    sha256 = answer.get("counts_sha256")
    path = artifact.path_of(folder / _GENERATIONS, 0, str(sha256))
    if not (folder / _GENERATIONS).is_dir():
        yield Check("figure", True, "its noised counts are not here, so that it is not made again", open=True)
        return
    try:
        label, histogram = artifact.read(path)
        facts = answer["facts"]
        expected = figure(parse_task(dict(answer["task"])), histogram, str(answer["unit"]), facts)
    except (artifact.ArtifactError, ConfigError, KeyError, TypeError, ValueError) as error:
        yield Check("figure", False, f"can't be made again from its noised counts ({type(error).__name__})")
        return
    own = label.run == facts.get("run") == find_field(document, "run.id")
    holds = own and label.sigma == find_field(document, "mechanism.sigma")
    holds = holds and json.loads(json.dumps(expected)) == dict(answer)
    detail = f"right {expected['right']}, wrong {expected['wrong']}, as its noised counts say"
    yield Check("figure", holds, detail if holds else "is not what its noised counts give")


def _check_probe(folder: Path, answer: Mapping[str, Any]) -> Iterator[Check]:
    try:
        found = load_probe(folder)
    except RunDamaged as error:
        yield Check("probe", False, str(error))
        return
    if found is None:
        yield Check("probe", True, "is not here: which question was asked is known by its hash alone", open=True)
        return
    same = found[0].sha256() == answer.get("probe_sha256")
    yield Check("probe", same, "the one that was answered" if same else "is another than was answered")
