"""`spti verify`: from a release and its ledger, prove (or refute) every field of `privacy.json`.

The certificate is a function of the ledger, so it is made again from the entries up to the head that it names and
compared field by field; the files beside it are checked against the hashes that it names. Needs neither the private
images nor any model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spti_ray.config_load import parse_config
from spti_ray.dp import artifact
from spti_ray.dp.build import code_version
from spti_ray.dp.certificate import FORMAT, WORDS, certificate
from spti_ray.dp.chain import Chain, LedgerError
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import registration, slots_of
from spti_ray.dp.storage import chains_at, open_chain
from spti_ray.files import sha256_of
from spti_ray.public.release import facts
from spti_ray.rundir import read_run

_TOLERANCE = 1e-6
"""Relative. Other versions of the accountants' libraries may differ in the last digits."""

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
    audits = document.get("audits")
    expected = certificate(entries, run, audits if isinstance(audits, Mapping) else None)
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
    release = directory / "release" if (directory / "release").is_dir() else directory
    dataset = str(_at(read_certificate(release), "dataset.id"))
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
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotVerified(f"{path}: there is no certificate, so nothing is guaranteed for this release") from None
    except (OSError, ValueError):
        raise NotVerified(f"{path}: can't be read as JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise NotVerified(f"{path}: not a certificate of the format that this version checks ({FORMAT})")
    return document


def _entries_until(chain: Chain, head: str) -> list[Entry]:
    entries = chain.read().entries
    found = next((position for position, entry in enumerate(entries) if entry.hash == head), None)
    if registration(entries) is None or found is None:
        raise LedgerError(
            f"ledger {chain.location} does not contain the certificate's head {head[:12]}: it is another dataset's, or "
            "it was cut back or replaced"
        )
    return entries[: found + 1]


def _compare(document: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Check]:
    theirs, ours = dict(_leaves(document)), dict(_leaves(expected))
    for field in [*ours, *(field for field in theirs if field not in ours)]:
        top, name = field.split(".")[0], field.split(".")[-1]
        if top in _ELSEWHERE or field == "written_by":
            continue
        if field not in theirs:
            yield Check(field, False, "missing")
        elif field not in ours:
            yield Check(field, False, "unknown field, which nothing proves")
        elif top in WORDS or name in WORDS:
            equal = theirs[field] == ours[field]
            other = f"not what this version writes; made by {document.get('written_by')}, this is {code_version()}"
            yield Check(field, equal, "as this version words it" if equal else other)
        else:
            equal = _same(theirs[field], ours[field])
            yield Check(
                field,
                equal,
                _shown(theirs[field]) if equal else f"says {theirs[field]}, but the ledger says {ours[field]}",
            )


def _check_audits(document: Mapping[str, Any]) -> Iterator[Check]:
    audits = document.get("audits")
    if not isinstance(audits, Mapping):
        yield Check("audits", isinstance(audits, str), "none were run for this release")
        return
    passed, build = audits.get("passed") is True, audits.get("build")
    same = build in (document.get("noise") or {}).get("builds", [])
    yield Check("audits", passed, "passed" if passed else "an audit found a fault: do not rely on this release")
    # Not a proof: results are what the auditor's machine said. Running them again is the check.
    yield Check(
        "audits.build", same, f"{build}; run spti audit to repeat them" if same else f"of another build: {build}"
    )


def _check_files(release: Path, document: Mapping[str, Any]) -> Iterator[Check]:
    named = document.get("release")
    found = facts(release) if (release / "manifest.parquet").is_file() else None
    if not isinstance(named, Mapping) or found is None:
        yield Check("release", False, "the certificate names no manifest, or there is none")
        return
    for field in sorted({*named, *found}):
        equal = named.get(field) == found.get(field)
        yield Check(
            f"release.{field}", equal, _shown(named.get(field)) if equal else f"the files say {found.get(field)}"
        )
    if of := found.get("rerendering_of"):
        run = str(_at(document, "run.id"))
        yield Check("run.id of a re-rendering", of == run, f"the manifest says the texts are those of run {of}")
    rows = pq.read_table(release / "manifest.parquet", columns=["file", "sha256"]).to_pylist()
    wrong: list[str] = []
    for row in rows:
        file = release / row["file"]
        if not file.is_file() or sha256_of(file) != row["sha256"]:
            wrong.append(row["file"])
    extra = sorted({f"images/{path.name}" for path in (release / "images").iterdir()} - {row["file"] for row in rows})
    detail = f"{len(rows)} images as named by the manifest"
    if wrong or extra:
        detail = f"altered or missing: {wrong[:3]}, not in the manifest: {extra[:3]}"
    yield Check("release.images on disk", not wrong and not extra, detail)


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


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted field, scalar) of all scalars; an empty list or object counts as one."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}.{index}")
    else:
        yield path, value


def _same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, bool) or isinstance(ours, bool) or type(theirs) not in (int, float):
        return type(theirs) is type(ours) and theirs == ours
    return type(ours) in (int, float) and math.isclose(theirs, ours, rel_tol=_TOLERANCE)


def _at(document: Mapping[str, Any], field: str) -> Any:
    value: Any = document
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        raise NotVerified(f"privacy.json has no field {field}")
    return value


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
