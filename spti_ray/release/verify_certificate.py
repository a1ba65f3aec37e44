"""Remakes a certificate from the ledger and compares it with the given one, field by field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.build import code_version
from spti_ray.dp.certificate import WORDS, certificate
from spti_ray.dp.certificate_2 import FORMAT_2, certificate_2
from spti_ray.dp.entries import Entry, Opened
from spti_ray.dp.tuning import worded_before
from spti_ray.figures import EARLIER_DIGITS
from spti_ray.release.checks import Check, find_field, shown

_TOLERANCE = 1e-6
"""Relative tolerance: other versions of the accountants' libraries may differ in the last digits."""

_FIRST_OF_FORMAT = 2
"""The version of the accountant that certificates of format 3 began with."""

_ELSEWHERE = {"release", "audits"}
"""Top-level fields that are not a function of the ledger; they have checks of their own."""


def remake_certificate(document: Mapping[str, Any], entries: Sequence[Entry], run: str) -> dict[str, Any] | None:
    """Remake a certificate as the build that wrote it would: in its format, with the figures of its accountant.

    Args:
        document: The given certificate, of which only format, accountant, audits and the wording are used.
        entries: The ledger up to the head that the certificate names.
        run: The run's id.

    Returns:
        The certificate, or None for a run that simulated its noise.
    """
    given = document.get("audits")
    audits = given if isinstance(given, Mapping) else None
    # If a later build has written to the ledger, no earlier build made a certificate of it.
    newest = max((entry.event.accountant for entry in entries if isinstance(entry.event, Opened)), default=1)
    if document["format"] == FORMAT_2 and newest == 1:
        return certificate_2(entries, run, audits)
    named = document.get("accountant")
    accountant = ACCOUNTANT
    if isinstance(named, int) and max(_FIRST_OF_FORMAT, newest) <= named <= ACCOUNTANT:
        accountant = named
    made = certificate(entries, run, audits, accountant)
    if made is None or _prose(made) == _prose(document):
        return made
    earlier = certificate(entries, run, audits, accountant, EARLIER_DIGITS)
    if earlier is None:
        return made
    earlier["tuning"] = earlier["tuning"] | {"in_words": worded_before(earlier["tuning"]["in_words"])}
    return earlier if _prose(earlier) == _prose(document) else made


def _prose(document: Mapping[str, Any]) -> list[Any]:
    """The fields in whose sentences earlier builds had fewer digits and other words."""
    return [find_field(document, field) for field in ("statement", "origin.in_words", "tuning.in_words")]


def compare_fields(document: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Check]:
    """Compare each field of the given certificate with the remade one."""
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
                shown(theirs[path]) if equal else f"says {theirs[path]}, but the ledger says {ours[path]}",
            )


def check_audits(document: Mapping[str, Any]) -> Iterator[Check]:
    """Check what the certificate says of audits: passed, and by a build that made the run."""
    audits = document.get("audits")
    if not isinstance(audits, Mapping):
        yield Check("audits", isinstance(audits, str), "none were run for this release")
        return
    passed, build = audits.get("passed") is True, audits.get("build")
    noise = document.get("noise")
    builds = noise.get("builds") if isinstance(noise, Mapping) else None
    same = isinstance(builds, list) and build in builds
    yield Check("audits", passed, "passed" if passed else "an audit found a fault: do not rely on this release")
    # This proves nothing: the results are what the auditor's machine said. Only running them again checks them.
    yield Check(
        "audits.build", same, f"{build}; run spti audit to repeat them" if same else f"of another build: {build}"
    )


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """All scalars, each with its path of keys and indices; an empty list or object counts as a scalar."""
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
