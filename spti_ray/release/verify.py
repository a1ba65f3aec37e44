"""`spti verify`: from a release and its ledger, prove (or refute) every field of `privacy.json`.

The certificate is a function of the ledger, so it is made again from the entries up to the head that it names and
compared field by field; the files beside it are checked against the hashes that it names. Needs neither the private
images nor any model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spti_ray.config.loading import parse_config
from spti_ray.config.reading import parse_json
from spti_ray.dp import artifact
from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.build import code_version
from spti_ray.dp.certificate import FORMAT, WORDS, certificate
from spti_ray.dp.certificate_2 import FORMAT_2, certificate_2
from spti_ray.dp.chain import Chain, LedgerError
from spti_ray.dp.entries import Entry, Opened
from spti_ray.dp.history import find_registration, slots_of
from spti_ray.dp.storage import chains_at, open_chain
from spti_ray.io.files import IMAGE_SUFFIXES, sha256_of
from spti_ray.public.release import facts
from spti_ray.public.released_files import ManifestDamaged, read_manifest
from spti_ray.run.folder import read_run

_DATASET_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""As `dataset.id`; it becomes the name of a file."""

_TOLERANCE = 1e-6
"""Relative. Other versions of the accountants' libraries may differ in the last digits."""

_FIRST_OF_FORMAT = 2
"""The accountant whose figures format 3 began with."""

_DEEPEST = 50
"""A certificate has five levels."""

_ELSEWHERE = {"release", "audits"}
"""Top fields that are not a function of the ledger, and have checks of their own."""


class NotVerified(RuntimeError):
    """The release can't be verified at all; one line says why."""


@dataclass(frozen=True)
class Check:
    """One line of the answer. `field` is the certificate's, dotted, or what else was looked at."""

    field: str
    holds: bool
    detail: str


def verify_release(release: Path, chain: Chain) -> Iterator[Check]:
    """All checks of the release in folder `release` against its ledger, in the certificate's order.

    If `release` lies in a run folder, its committed histograms are checked too. Raises NotVerified without a readable
    certificate, and LedgerError if the ledger is broken or does not contain the certificate's head.
    """
    document = read_certificate(release)
    entries = _entries_until(chain, str(_at(document, "ledger.head")))
    yield Check(
        "ledger", True, f"{chain.location}: {len(entries)} entries up to the certificate's head, all hashes hold"
    )
    run = str(_at(document, "run.id"))
    expected = _made_again(document, entries, run)
    if expected is None:
        yield Check("noise", False, "an attempt of this run simulated its noise: there is no guarantee")
        return
    yield from _compare(document, expected)
    yield from _check_audits(document)
    yield from _check_files(release, document)
    yield from _check_histograms(release.parent / "generations", entries, run)


def release_and_chain(directory: Path, ledger: str | None) -> tuple[Path, Chain]:
    """The release folder that `directory` is or holds, and its dataset's chain (at `ledger`, or as run.yaml says).

    NotVerified if one of them can't be found.
    """
    if not directory.is_dir():
        raise NotVerified(f"{directory}: no such folder")
    release = directory / "release" if (directory / "release").is_dir() else directory
    dataset = str(_at(read_certificate(release), "dataset.id"))
    if not re.fullmatch(_DATASET_ID, dataset):
        raise NotVerified(f"{release / 'privacy.json'}: its dataset.id is none")
    missing = "name it with --ledger"
    if ledger is None:
        if not (directory / "run.yaml").is_file():
            raise NotVerified(f"{directory} is no run folder, so name the dataset's ledger: --ledger LEDGER")
        section = parse_config(read_run(directory)["config"]).ledger
        missing += f", or {section.if_missing}"
        chain = open_chain(section.location, dataset)
    else:
        chain = open_chain(ledger, dataset)
        if Path(ledger).is_file() or not chain.read().entries:
            chain = chains_at(ledger)[0]  # it names the dataset's own file or URL
    if not chain.read().entries:
        raise NotVerified(f"{chain.location}: no ledger here; {missing}")
    return release, chain


def read_certificate(release: Path) -> dict[str, Any]:
    """The release's privacy.json. NotVerified if there is none that this version can check."""
    path = release / "privacy.json"
    try:
        document = parse_json(path.read_text(encoding="utf-8"), twice=False)
    except FileNotFoundError:
        raise NotVerified(f"{path}: there is no certificate, so nothing is guaranteed for this release") from None
    except (OSError, ValueError):
        raise NotVerified(f"{path}: can't be read as JSON") from None
    if isinstance(document, dict) and _depth(document) > _DEEPEST:
        raise NotVerified(f"{path}: nested more deeply than any certificate")
    if not isinstance(document, dict) or document.get("format") not in (FORMAT, FORMAT_2):
        raise NotVerified(f"{path}: not a certificate of a format that this version checks ({FORMAT_2}, {FORMAT})")
    return document


def _made_again(document: Mapping[str, Any], entries: Sequence[Entry], run: str) -> dict[str, Any] | None:
    """The certificate as the build that wrote it would have: of its format, with the figures of its accountant."""
    told = document.get("audits")
    audits = told if isinstance(told, Mapping) else None
    # A ledger that a later build has written to is not one of which an earlier one made a certificate.
    newest = max((entry.event.accountant for entry in entries if isinstance(entry.event, Opened)), default=1)
    if document["format"] == FORMAT_2 and newest == 1:
        return certificate_2(entries, run, audits)
    named = document.get("accountant")
    if isinstance(named, int) and max(_FIRST_OF_FORMAT, newest) <= named <= ACCOUNTANT:
        return certificate(entries, run, audits, named)
    return certificate(entries, run, audits)


def _entries_until(chain: Chain, head: str) -> list[Entry]:
    entries = chain.read().entries
    found = next((position for position, entry in enumerate(entries) if entry.hash == head), None)
    if find_registration(entries) is None or found is None:
        raise LedgerError(
            f"ledger {chain.location} does not contain the certificate's head {head[:12]}: it is another dataset's, or "
            "it was cut back or replaced"
        )
    return entries[: found + 1]


def _compare(document: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Check]:
    theirs, ours = dict(_leaves(document)), dict(_leaves(expected))
    for path in [*ours, *(path for path in theirs if path not in ours)]:
        top, name, field = path[0], path[-1], ".".join(str(key) or repr("") for key in path)
        if top in _ELSEWHERE or path == ("written_by",):
            continue
        if path not in theirs:
            yield Check(field, False, "missing")
        elif path not in ours:
            yield Check(field, False, "unknown field, which nothing proves")
        elif top in WORDS or name in WORDS:
            equal = theirs[path] == ours[path]
            other = f"not what this version writes; made by {document.get('written_by')}, this is {code_version()}"
            yield Check(field, equal, "as this version words it" if equal else other)
        else:
            equal = _same(theirs[path], ours[path])
            yield Check(
                field,
                equal,
                _shown(theirs[path]) if equal else f"says {theirs[path]}, but the ledger says {ours[path]}",
            )


def _check_audits(document: Mapping[str, Any]) -> Iterator[Check]:
    audits = document.get("audits")
    if not isinstance(audits, Mapping):
        yield Check("audits", isinstance(audits, str), "none were run for this release")
        return
    passed, build = audits.get("passed") is True, audits.get("build")
    noise = document.get("noise")
    builds = noise.get("builds") if isinstance(noise, Mapping) else None
    same = isinstance(builds, list) and build in builds
    yield Check("audits", passed, "passed" if passed else "an audit found a fault: do not rely on this release")
    # Not a proof: results are what the auditor's machine said. Running them again is the check.
    yield Check(
        "audits.build", same, f"{build}; run spti audit to repeat them" if same else f"of another build: {build}"
    )


def _check_files(release: Path, document: Mapping[str, Any]) -> Iterator[Check]:
    named = document.get("release")
    if not isinstance(named, Mapping):
        yield Check("release", False, "the certificate names no manifest")
        return
    try:
        rows = read_manifest(release).select(["file", "sha256", "text", "label"]).to_pylist()
        found = facts(release)
    except ManifestDamaged as error:
        yield Check("release", False, str(error))
        return
    for field in sorted({*named, *found}):
        equal = named.get(field) == found.get(field)
        yield Check(
            f"release.{field}", equal, _shown(named.get(field)) if equal else f"the files say {found.get(field)}"
        )
    if of := found.get("rerendering_of"):
        run = str(_at(document, "run.id"))
        yield Check("run.id of a re-rendering", of == run, f"the manifest says the texts are those of run {of}")
    wrong = [row["file"] for row in rows if _hash_of(release / row["file"]) != row["sha256"]]
    images = release / "images"
    there = {f"images/{path.name}" for path in images.iterdir()} if images.is_dir() else set[str]()
    # Loaders of folders take images from wherever they are.
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
    """What loaders read beside the images says what the manifest says, which the certificate names by its hash."""
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
    """Empty for what is no JSON object."""
    try:
        row = parse_json(line, twice=False)
    except ValueError:
        return {}
    return row if isinstance(row, Mapping) else {}


def _hash_of(file: Path) -> str | None:
    """None for what is no file that can be read."""
    try:
        return sha256_of(file) if file.is_file() else None
    except OSError:
        return None


def _check_histograms(folder: Path, entries: Sequence[Entry], run: str) -> Iterator[Check]:
    """Only where the whole run folder is there: a published release comes without its histograms."""
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


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """(keys and places, scalar) of all scalars; an empty list or object counts as one. No two values have one path."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _leaves(part, (*path, str(key)))
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _leaves(part, (*path, index))
    else:
        yield path, value


def _same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, bool) or isinstance(ours, bool) or type(theirs) not in (int, float):
        return type(theirs) is type(ours) and theirs == ours
    try:
        return type(ours) in (int, float) and math.isclose(theirs, ours, rel_tol=_TOLERANCE)
    except OverflowError:  # a whole number that no float holds
        return False


def _at(document: Mapping[str, Any], field: str) -> Any:
    value: Any = document
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        raise NotVerified(f"privacy.json has no field {field}")
    return value


def _depth(value: Any) -> int:
    """Of nested objects and lists; by a list of its own, since recursion is what is to be avoided."""
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, depth = todo.pop()
        deepest = max(deepest, depth)
        parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        todo += [(part, depth + 1) for part in parts]
    return deepest


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
