"""The result of one check of a release, and the error of a release that can not be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class NotVerified(RuntimeError):
    """The release can't be verified at all; one line says why."""


@dataclass(frozen=True)
class Check:
    """The result of one check: one line of the answer.

    `field`: the certificate's field, with dots, or the name of what else was checked. `holds`: whether it is as it must
    be. `detail`: why, for people. `open`: it could not be checked, which is no failure and proves nothing.
    """

    field: str
    holds: bool
    detail: str
    open: bool = False


def find_field(document: Mapping[str, Any], field: str) -> Any:
    """The value of a field, given with dots (`dataset.id`); None if there is none."""
    value: Any = document
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def field_of(document: Mapping[str, Any], field: str) -> Any:
    """As `find_field`, for a field that must be there.

    Raises:
        NotVerified: the certificate has no such field.
    """
    value = find_field(document, field)
    if value is None:
        raise NotVerified(f"privacy.json has no field {field}")
    return value


def shown(value: Any) -> str:
    """A certificate's value for people."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
