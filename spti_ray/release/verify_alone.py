"""Checks a release without its ledger: all that whoever received it can check, and what stays to be proved.

The files are checked as with the ledger. Of the certificate, only that its figures follow from the noise that it
names. Whether that noise was added, and whether these were all charges, the ledger alone can prove.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from spti_ray.dp.accounting import ACCOUNTANT, SMALLEST_DELTA
from spti_ray.dp.certificate_2 import FORMAT_2
from spti_ray.dp.lifetime import lifetime_advantage, lifetime_epsilon
from spti_ray.figures import DIGITS, EARLIER_DIGITS, at_least
from spti_ray.release.checks import Check, find_field, shown
from spti_ray.release.verify import folder_of, read_certificate
from spti_ray.release.verify_certificate import check_audits
from spti_ray.release.verify_files import check_files
from spti_ray.step_progress import Told, untold

_TOLERANCE = 1e-6
"""Relative tolerance, as for figures that are compared with the ledger's."""

_SIGMAS = (0.01, 1e5)
_MOST_EPSILON = 1e6
_MOST_QUERIES = 10_000
_MOST_PARTS = 20
"""What certificates have, with room to spare: the figures of anything else could take forever to compute."""


_OPEN = (
    "none was given, so the rest of privacy.json is its writer's word: that this noise was added (mechanism, noise) "
    "for this run (run, trust), and that there were no more charges (dataset, tuning, ledger). Ask whoever keeps the "
    "ledger, and add --ledger LEDGER"
)


def verify_alone(directory: Path, told: Told = untold, anchors: str | None = None) -> Iterator[Check]:
    """Check a release, or an export of one, without a ledger.

    Args:
        directory: The folder of the release or of the export.
        told: Is told how far it is.
        anchors: Certificates in PEM that whoever signed the images must lead to; None for none.

    Yields:
        One `Check` for each figure and file, and an open one for what only the ledger proves.

    Raises:
        NotVerified: there is no readable certificate.
    """
    release = folder_of(directory)
    document = read_certificate(release)
    yield from _check_figures(document)
    yield from check_audits(document)
    yield from check_files(release, document, told, None, anchors)
    yield Check("ledger", True, _OPEN, open=True)


def _check_figures(document: Mapping[str, Any]) -> Iterator[Check]:
    """Check that the figures are those of the noise that the certificate names."""
    if document["format"] == FORMAT_2 and "origin" in document:
        detail = "of format 2 and of a run that goes on from another: it does not name the noise of both"
        yield Check("epsilon", True, detail, open=True)
        return
    terms, delta = _terms(document), document.get("delta")
    accountant = 1 if document["format"] == FORMAT_2 else document.get("accountant")
    if (
        terms is None
        or type(accountant) is not int
        or not 1 <= accountant <= ACCOUNTANT
        or not _is_in(delta, SMALLEST_DELTA, 0.5)
    ):
        yield Check("mechanism", False, "names no noise, delta and accountant that this version knows")
        return
    try:
        epsilon = lifetime_epsilon(terms, delta, accountant)
        replaced = lifetime_epsilon([(sigma, 2 * count) for sigma, count in terms], delta, accountant)
        advantage = lifetime_advantage(terms, accountant)
    except (ValueError, OverflowError):
        yield Check("mechanism", False, "no epsilon can be computed for its noise")
        return
    for field, figure in (
        ("achieved_epsilon", epsilon),
        ("replace_one_epsilon", replaced),
        ("attacker.advantage", advantage),
    ):
        said = find_field(document, field)
        equal = _is_in(said, 0, _MOST_EPSILON) and math.isclose(said, figure, rel_tol=_TOLERANCE)
        yield Check(
            field, equal, f"{shown(said)}, as of the noise that it names" if equal else f"its noise gives {figure:.6g}"
        )
    promised = document.get("epsilon")
    if not _is_in(promised, epsilon * (1 - _TOLERANCE), _MOST_EPSILON):
        yield Check("epsilon", False, f"its noise gives {epsilon:.6g}")
        return
    yield Check("epsilon", True, f"{shown(promised)}, which its noise keeps")
    words = tuple(f"This release is ({at_least(promised, digits)}, " for digits in (DIGITS, EARLIER_DIGITS))
    says = str(document.get("statement", "")).startswith(words)
    yield Check("statement", says, "says that epsilon" if says else "does not say the certificate's epsilon")


def _terms(document: Mapping[str, Any]) -> list[tuple[float, int]] | None:
    """The (sigma, count) pairs that the figures on top are of; None if the certificate names none, or odd ones.

    Format 2 has figures of its last run on top, format 3 of all runs that the release depends on: `mechanism` is the
    noise of the last of them.
    """
    own = _term(document.get("mechanism"))
    parts = None if document["format"] == FORMAT_2 else document.get("parts")
    if not isinstance(parts, list):
        return None if own is None else [own]
    terms = [_term(part) for part in parts[:_MOST_PARTS]]
    known = [term for term in terms if term is not None]
    is_whole = 0 < len(known) == len(parts) and known[-1] == own
    return known if is_whole else None


def _term(source: object) -> tuple[float, int] | None:
    if not isinstance(source, Mapping):
        return None
    sigma, votes, queries = (source.get(name) for name in ("sigma", "votes_per_record", "queries_planned"))
    if not _is_in(sigma, *_SIGMAS) or type(votes) is not int or type(queries) is not int:
        return None
    if not (0 < votes <= _MOST_QUERIES and 0 < queries <= _MOST_QUERIES):
        return None
    return float(sigma), votes * queries


def _is_in(value: object, least: float, most: float) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
