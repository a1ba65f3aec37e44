"""Figures of a guarantee for people: never rounded towards more privacy, and always of the whole release."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

DIGITS = 6
"""Significant digits of each figure of a guarantee that people read, wherever they read it."""

EARLIER_DIGITS = 4
"""Those of most figures in the prose of certificates that earlier builds wrote."""


def at_least(value: float, digits: int = DIGITS) -> str:
    """A figure of a guarantee for people: as Python's `g` writes it with `digits` significant digits, rounded up."""
    text = f"{value:.{digits}g}"
    if float(text) >= value:
        return text
    rounded = Decimal(text)
    # Add one to the last digit. `g` leaves out zeros at the end, so the last digit may not be written.
    return f"{rounded + Decimal(1).scaleb(rounded.adjusted() - digits + 1):.{digits}g}".replace("E", "e")


def rounded_up(value: object, key: str = "epsilon") -> object:
    """`value` rounded up as `at_least` says it, if it is a float and `key` names a figure of a guarantee.

    Args:
        value: of any type; what is not such a figure is returned as it is.
        key: its name, such as `achieved_epsilon`.
    """
    is_bound = any(word in key for word in ("epsilon", "delta", "advantage"))
    return float(at_least(value)) if is_bound and isinstance(value, float) else value


def percent_at_least(share: float) -> str:
    """A share in per cent, never less than it is: with one decimal place, or two where one would round down."""
    text = f"{100 * share:.1f}"
    if float(text) / 100 < share:
        text = f"{100 * share:.2f}"
    return text if float(text) / 100 >= share else f"{Decimal(text) + Decimal('0.01')}"


def release_epsilon(certificate: Mapping[str, Any]) -> float:
    """The epsilon of everything that a release depends on, by a certificate of any format."""
    return float(_of_all(certificate, "epsilon_together", "epsilon"))


def release_replace_one_epsilon(certificate: Mapping[str, Any]) -> float:
    """`release_epsilon` for neighbours in which one record is replaced by another."""
    return float(_of_all(certificate, "replace_one_epsilon_together", "replace_one_epsilon"))


def _of_all(certificate: Mapping[str, Any], together: str, own: str) -> Any:
    """The figure of all runs that a release depends on. Format 2 has it in `origin`, and the last run's at the top."""
    origin = certificate.get("origin")
    found = origin.get(together) if isinstance(origin, Mapping) else None
    return certificate[own] if found is None else found


def clock(seconds: int) -> str:
    """A duration as minutes and seconds: `61` is "01:01"."""
    return f"{seconds // 60:02d}:{seconds % 60:02d}"
