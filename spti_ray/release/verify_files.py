"""Checks the files of a release against its certificate and its manifest, and histograms against the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spti_ray.config.parsing import parse_json
from spti_ray.dp import artifact
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import slots_of
from spti_ray.io.files import IMAGE_SUFFIXES
from spti_ray.public.croissant_data import IMAGEFOLDER
from spti_ray.public.release import release_section
from spti_ray.public.released_files import ManifestDamaged, read_manifest
from spti_ray.release.checks import Check, field_of, shown
from spti_ray.release.verify_croissant import check_croissant
from spti_ray.release.verify_export import See, check_export
from spti_ray.release.verify_filters import check_filters
from spti_ray.release.verify_measure import check_figure, is_measure
from spti_ray.release.verify_provenance import ProvenanceCheck
from spti_ray.step_progress import Told, untold


def check_files(
    release: Path,
    document: Mapping[str, Any],
    told: Told = untold,
    entries: Sequence[Entry] | None = None,
    anchors: str | None = None,
) -> Iterator[Check]:
    """Check the manifest against the certificate, and against the manifest the images and what is said of them.

    A release, like an export as imagefolder, has `images/` and `metadata.jsonl`; other exports have a folder `data`.

    Args:
        release: The folder of the release or the export.
        document: The certificate.
        told: Is told how far it is.
        entries: The ledger up to the certificate's head; None where there is no ledger.
        anchors: Certificates in PEM that whoever signed the images must lead to; None for none.
    """
    if is_measure(document):
        yield from check_figure(release, document)
        return
    named = document.get("release")
    if not isinstance(named, Mapping):
        yield Check("release", False, "the certificate names no manifest")
        return
    try:
        table = read_manifest(release)
        found = release_section(release)
    except ManifestDamaged as error:
        yield Check("release", False, str(error))
        return
    for field in sorted({*named, *found}):
        equal = named.get(field) == found.get(field)
        yield Check(
            f"release.{field}", equal, shown(named.get(field)) if equal else f"the files say {found.get(field)}"
        )
    if of := found.get("rerendering_of"):
        run = str(field_of(document, "run.id"))
        yield Check("run.id of a re-rendering", of == run, f"the manifest says the texts are those of run {of}")
    is_export = (release / "data").is_dir()
    said = ProvenanceCheck(table, document, entries, anchors)
    if not is_export or (release / "images").is_dir():
        rows = table.select(["file", "sha256", "text", "label"]).to_pylist()
        yield from _check_images(release, rows, told, said.see)
        yield from check_filters(release, table, told)
    if not is_export:
        yield from check_croissant(release, table, IMAGEFOLDER)
    if is_export:
        yield from check_export(release, table, told, said.see)
    yield from said.checks()


def _check_images(release: Path, rows: Sequence[Mapping[str, Any]], told: Told, see: See) -> Iterator[Check]:
    wrong: list[str] = []
    for number, row in enumerate(rows):
        told("checking images", number, len(rows))
        image = _content_of(release / row["file"])
        if hashlib.sha256(image).hexdigest() != row["sha256"]:
            wrong.append(row["file"])
        see(row["file"], image)
    images = release / "images"
    there = {f"images/{path.name}" for path in images.iterdir()} if images.is_dir() else set[str]()
    # Loaders of image folders take images from any sub-folder.
    there |= {
        path.relative_to(release).as_posix() for path in release.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES
    }
    extra = sorted(there - {row["file"] for row in rows})
    detail = f"{len(rows)} images as named by the manifest"
    if wrong or extra:
        detail = f"altered or missing: {wrong[:3]}, not in the manifest: {extra[:3]}"
    yield Check("release.images on disk", not wrong and not extra, detail)
    yield from _check_metadata(release / "metadata.jsonl", rows)


def _check_metadata(path: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """Check that metadata.jsonl, which loaders read, says what the manifest says. The certificate has no hash of it."""
    if not path.is_file():
        return
    known = {row["file"]: (row["text"], row["label"]) for row in rows}
    wrong = 0
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        yield Check("release.metadata.jsonl", False, "can't be read")
        return
    for line in lines:
        if line.strip():
            row = _row_of(line)
            said = known.pop(str(row.get("file_name")), None)
            wrong += said is None or said != (row.get("text"), row.get("label"))
    holds = not wrong and not known
    detail = f"{wrong} line(s) that are none of an image of the manifest, {len(known)} image(s) without a line"
    yield Check("release.metadata.jsonl", holds, "says what the manifest says" if holds else detail)


def _row_of(line: str) -> Mapping[str, Any]:
    """The JSON object of a line; empty if it is none."""
    try:
        row = parse_json(line, twice=False)
    except ValueError:
        return {}
    return row if isinstance(row, Mapping) else {}


def _content_of(file: Path) -> bytes:
    """The bytes of a file; none if it can't be read."""
    try:
        return file.read_bytes() if file.is_file() else b""
    except OSError:
        return b""


def check_histograms(folder: Path, entries: Sequence[Entry], run: str) -> Iterator[Check]:
    """Check the noised histograms against the ledger, where there are any: a published release has none."""
    if not folder.is_dir():
        return
    slots = [slot for slot in slots_of(entries, run) if slot.artifact_sha256 is not None]
    for slot in slots:
        path = artifact.path_of(folder, slot.reserved.generation, slot.artifact_sha256 or "")
        field = f"histogram of generation {slot.reserved.generation}"
        try:
            label, _ = artifact.read(path)
        except artifact.ArtifactError as error:
            yield Check(field, False, str(error))
            continue
        holds = (label.run, label.slot, label.sigma) == (run, slot.reserved.slot, slot.reserved.sigma)
        yield Check(field, holds, f"slot {label.slot}, sigma {label.sigma:.4g}, as committed in the ledger")
