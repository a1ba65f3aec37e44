"""The page of a report as a template, with its words for numbers and guarantees."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from spti_ray.figures import release_epsilon, rounded_up


def environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = readable_number
    environment.filters["up"] = rounded_up
    environment.filters["heading"] = lambda key: str(key).replace("_", " ").strip().capitalize()
    return environment


def readable_number(value: object) -> str:
    """A number for people: 1,232; 8.34213; 1e-5. Other values as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return f"{int(value):,}"
        return re.sub(r"e([+-])0+", r"e\1", f"{value:.6g}").replace("e+", "e")
    return "-" if value is None else str(value)


def attacker_sentence(certificate: Mapping[str, Any]) -> str:
    """One sentence that bounds what anyone can learn about one record (or group), from a certificate of any format."""
    attacker = certificate.get("attacker") or {}
    if attacker.get("in_words"):
        return str(attacker["in_words"])
    advantage = attacker.get("advantage")
    if advantage is None:
        # What (epsilon, delta) implies for telling two neighbouring data sets apart (Kairouz et al., 2015).
        epsilon = release_epsilon(certificate) if "epsilon" in certificate else math.inf
        delta = float(certificate.get("delta", 0.0))
        advantage = 1.0 if epsilon > 50 else (math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1)
    return (
        f"Whoever tries to tell from this release whether one {certificate.get('unit', 'record')} was among the "
        f"private ones has an advantage of at most {100 * float(advantage):.1f} % over guessing."
    )
