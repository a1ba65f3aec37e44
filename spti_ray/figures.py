"""Figures of a guarantee for people: never rounded towards more privacy, and always those of the whole release."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def at_least(value: float, digits: int = 4) -> str:
    """`value` in so many significant digits, as Python's `g` writes it, and never less than it is."""
    text = f"{value:.{digits}g}"
    if float(text) >= value:
        return text
    rounded = Decimal(text)
    # One more in the last of the digits, which `g` may have left out as zeros.
    return f"{rounded + Decimal(1).scaleb(rounded.adjusted() - digits + 1):.{digits}g}".replace("E", "e")


def decimals_at_least(value: float, decimals: int = 4) -> str:
    """`value` with so many decimal places, and never less than it is."""
    text = f"{value:.{decimals}f}"
    return text if float(text) >= value else f"{Decimal(text) + Decimal(1).scaleb(-decimals)}"


def rounded_up(value: object, key: str = "epsilon") -> object:
    """`value`, if it is a fraction and `key` a figure of a guarantee, as the next larger number of six digits."""
    is_bound = any(word in key for word in ("epsilon", "delta", "advantage"))
    return float(at_least(value, 6)) if is_bound and isinstance(value, float) else value


def percent_at_least(share: float) -> str:
    """A share as per cent with a decimal place, or two where one would be less than it is."""
    text = f"{100 * share:.1f}"
    return text if float(text) / 100 >= share else decimals_at_least(100 * share, 2)


def release_epsilon(certificate: Mapping[str, Any]) -> float:
    """The epsilon of everything that a release depends on, by a certificate of any format."""
    return float(_of_all(certificate, "epsilon_together", "epsilon"))


def release_replace_one_epsilon(certificate: Mapping[str, Any]) -> float:
    """The same where one record is replaced by another."""
    return float(_of_all(certificate, "replace_one_epsilon_together", "replace_one_epsilon"))


def _of_all(certificate: Mapping[str, Any], together: str, own: str) -> Any:
    """Format 2 kept the figure of all runs that a release depends on in `origin`, and that of the last one on top."""
    origin = certificate.get("origin")
    found = origin.get(together) if isinstance(origin, Mapping) else None
    return certificate[own] if found is None else found
