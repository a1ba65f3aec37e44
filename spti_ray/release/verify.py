"""`spti verify`: proves or refutes every field of a release's `privacy.json` from the release and its ledger.

The certificate is a function of the ledger. So it is remade from the entries up to the head that it names, and compared
field by field (`verify_certificate`). The files beside it are checked against the hashes that it names
(`verify_files`). Neither the private images nor any model are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.config.parsing import parse_json
from spti_ray.dp.certificate import FORMAT
from spti_ray.dp.certificate_2 import FORMAT_2
from spti_ray.dp.chain import Chain, LedgerError
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import find_registration
from spti_ray.dp.storage import chains_at, open_chain
from spti_ray.release.checks import Check, NotVerified, field_of
from spti_ray.release.verify_certificate import check_audits, compare_fields, remake_certificate
from spti_ray.release.verify_files import check_files, check_histograms
from spti_ray.release.verify_measure import check_committed, is_measure, why_unfinished
from spti_ray.runs.folder import read_run
from spti_ray.runs.measures import MEASURE_FILE
from spti_ray.step_progress import Told, untold

_DATASET_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""The pattern of `dataset.id`, which becomes the name of a file."""

_MAX_DEPTH = 50
"""Nested levels that are read; a certificate has five."""


def verify_release(release: Path, chain: Chain, told: Told = untold, anchors: str | None = None) -> Iterator[Check]:
    """Check a release against its ledger, in the certificate's order.

    Args:
        release: The folder of the release. If it lies in a run's folder, the run's committed histograms are checked
            too.
        chain: The ledger of its dataset.
        told: Is told how far it is.
        anchors: Certificates in PEM that whoever signed the images must lead to; None for none.

    Yields:
        One `Check` for each field and file.

    Raises:
        NotVerified: there is no readable certificate.
        LedgerError: the ledger is broken, or does not contain the certificate's head.
    """
    document = read_certificate(release)
    entries = _entries_until(chain, str(field_of(document, "ledger.head")))
    yield Check(
        "ledger", True, f"{chain.location}: {len(entries)} entries up to the certificate's head, all hashes hold"
    )
    run = str(field_of(document, "run.id"))
    expected = remake_certificate(document, entries, run)
    if expected is None:
        yield Check("noise", False, "an attempt of this run simulated its noise: there is no guarantee")
        return
    yield from compare_fields(document, expected)
    yield from check_audits(document)
    yield from check_files(release, document, told, entries, anchors)
    if is_measure(document):
        yield from check_committed(release, entries, run)
    folder = release if is_measure(document) else release.parent
    yield from check_histograms(folder / "generations", entries, run)


def release_and_chain(directory: Path, ledger: str | None) -> tuple[Path, Chain]:
    """Find a release and the ledger of its dataset.

    Args:
        directory: The folder of the release, or of its run.
        ledger: Folder, file or URL of the ledger; None for the one that run.yaml names.

    Returns:
        The folder of the release, and the ledger's chain of entries.

    Raises:
        ConfigError: there is no such folder.
        NotVerified: the certificate or the ledger can't be found.
    """
    release = folder_of(directory)
    dataset = str(field_of(read_certificate(release), "dataset.id"))
    if not re.fullmatch(_DATASET_ID, dataset):
        raise NotVerified(f"{release / 'privacy.json'}: its dataset.id is none")
    missing = "name it with --ledger"
    if ledger is None:
        run = run_of(directory)
        if run is None:
            raise NotVerified(f"{directory} is no run folder, so name the dataset's ledger: --ledger LEDGER")
        section = parse_config(read_run(run)["config"]).ledger
        missing += f", or {section.if_missing}"
        chain = open_chain(section.location, dataset)
    else:
        chain = open_chain(ledger, dataset)
        if Path(ledger).is_file() or not chain.read().entries:
            chain = chains_at(ledger)[0]  # it names the dataset's own file or URL
    if not chain.read().entries:
        raise NotVerified(f"{chain.location}: no ledger here; {missing}")
    return release, chain


def folder_of(directory: Path) -> Path:
    """The folder of the release in `directory`, which is that, or its run's, or an export's; or a measurement's.

    Raises:
        ConfigError: there is no such folder.
        NotVerified: it is a measurement without an answer.
    """
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "no such folder"
        raise ConfigError(f"{directory}: {what}; name a run's folder, a release, an export or a measurement")
    if unfinished := why_unfinished(directory):
        raise NotVerified(unfinished)
    return directory / "release" if (directory / "release").is_dir() else directory


def run_of(directory: Path) -> Path | None:
    """The folder of the run, which knows its ledger; None for what was made of it and is elsewhere."""
    parents = [directory.parent] if directory.name == "release" else []
    if (directory / MEASURE_FILE).is_file():
        parents = list(directory.resolve().parents[1:2])  # DIR/measures/NAME
    return next((folder for folder in (directory, *parents) if (folder / "run.yaml").is_file()), None)


def read_certificate(release: Path) -> dict[str, Any]:
    """The release's privacy.json.

    Raises:
        NotVerified: there is none that this version can check.
    """
    path = release / "privacy.json"
    try:
        document = parse_json(path.read_text(encoding="utf-8"), twice=False)
    except FileNotFoundError:
        raise NotVerified(f"{path}: there is no certificate, so nothing is guaranteed for this release") from None
    except (OSError, ValueError):
        raise NotVerified(f"{path}: can't be read as JSON") from None
    if isinstance(document, dict) and _depth(document) > _MAX_DEPTH:
        raise NotVerified(f"{path}: nested more deeply than any certificate")
    if not isinstance(document, dict) or document.get("format") not in (FORMAT, FORMAT_2):
        raise NotVerified(f"{path}: not a certificate of a format that this version checks ({FORMAT_2}, {FORMAT})")
    return document


def _entries_until(chain: Chain, head: str) -> list[Entry]:
    entries = chain.read().entries
    found = next((position for position, entry in enumerate(entries) if entry.hash == head), None)
    if find_registration(entries) is None or found is None:
        raise LedgerError(
            f"ledger {chain.location} does not contain the certificate's head {head[:12]}: it is another dataset's, or "
            "it was cut back or replaced"
        )
    return entries[: found + 1]


def _depth(value: Any) -> int:
    """How deeply objects and lists are nested. Without recursion, since the depth is not known to be small."""
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, depth = todo.pop()
        deepest = max(deepest, depth)
        parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        todo += [(part, depth + 1) for part in parts]
    return deepest
