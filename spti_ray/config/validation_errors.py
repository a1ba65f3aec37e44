"""What is wrong with a setting, in one line: where it is, what was found, and how to write it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_BRANCH = re.compile(r"\[key\]$|(?:literal|dict)\[.*\]$", re.DOTALL)
_KEYS_SHOWN = 3
_BARE = "YAML reads a bare yes, no, on or off as true or false: write it in quotes"
_SAID = {
    "finite_number": "should be a finite number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "dict_type": "should be settings, such as {key: value}",
    "invalid_key": "is no name of a setting: write it in quotes if it is meant as one",
}
"""Our words for those of pydantic's kinds of error whose own words name Python types."""


def one_line(error: ValidationError, section: type[BaseModel], where: str = "", values: bool = True) -> str:
    """The first problem of a section.

    Args:
        error: pydantic's.
        section: the section's class.
        where: the flat name of the section, as in `runtime.engines`; empty for the whole configuration.
        values: whether the line repeats the wrong value; not where that may be a secret, or an address with one.
    """
    problem = _most_telling(error)
    # Users wrote neither the branch of a union nor the mark of a mapping's key, which pydantic adds to the path.
    location = [part for part in problem["loc"] if not (isinstance(part, str) and _BRANCH.match(part))]
    place = ".".join([*([where] if where else []), *(str(part) for part in location)])
    kind, got = problem["type"], problem.get("input")
    if not values or (isinstance(got, str) and "://" in got):
        got = None
    if kind == "extra_forbidden":
        return f"{place}: unknown key{nearest(str(location[-1]), _known_keys(section, location[:-1]))}"
    if kind == "missing":
        return f"{place}: required, but missing"
    shown = f" (got {got!r})" if isinstance(got, (str, int, float, bool)) and len(repr(got)) < 80 else ""
    said = _said(kind, got, problem["msg"], section, location)
    if not place:
        return said
    return f"{place}: {said[0].lower()}{said[1:]}{shown}"


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a line about an unknown name: the known name that is nearest to it, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def _said(kind: str, got: Any, message: str, section: type[BaseModel], location: Sequence[str | int]) -> str:
    """What is wrong and how to write it, without the place."""
    if kind == "model_type":
        inner = _section_at(section, location)
        keys = _keys_to_show(inner) if inner else ["key"]
        settings = "{" + ", ".join(f"{key}: ..." for key in keys) + "}"
        return f"should be settings, such as {settings}" + (f"; {_BARE}" if isinstance(got, bool) else "")
    if kind in ("tuple_type", "list_type", "set_type", "frozen_set_type"):
        single = isinstance(got, (str, int, float)) and not isinstance(got, bool) and len(str(got)) < 40
        return f"should be a list, such as [{got if single else 'a, b'}]"
    if kind == "string_type":
        if isinstance(got, bool):
            return f"should be text; {_BARE}"
        # For example a date, which YAML does not read as text unless it is in quotes.
        return "should be text" + ("" if isinstance(got, (Mapping, list, tuple)) else ": write it in quotes")
    if kind == "literal_error" and not isinstance(got, str) and list(location) == ["runtime", "engines"]:
        return "should be embedded, fake, or settings per role, such as {writer: {model: ...}}"
    return _SAID.get(kind) or message.removeprefix("Value error, ")


def _most_telling(error: ValidationError) -> ErrorDetails:
    """The first problem, but a misspelt key before the key that it leaves missing."""
    problems = error.errors(include_url=False)
    # A wrong `runtime.engines: {...}` also fails as a name, which says nothing about what is wrong inside.
    inside = [p for p in problems if not (p["type"] == "literal_error" and isinstance(p["input"], Mapping))]
    return next((p for p in problems if p["type"] == "extra_forbidden"), (inside or problems)[0])


def _known_keys(section: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    found = _section_at(section, location)
    return list(found.model_fields) if found else []


def _keys_to_show(section: type[BaseModel]) -> list[str]:
    required = [name for name, field in section.model_fields.items() if field.is_required()]
    return (required or list(section.model_fields))[:_KEYS_SHOWN]


def _section_at(section: type[BaseModel] | None, location: Sequence[str | int]) -> type[BaseModel] | None:
    """The section's class at a place below another one."""
    for part in location:
        if section is not None and not isinstance(part, int):
            field = section.model_fields.get(part)
            section = _section_in(field.annotation) if field else None
    return section


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section class in an annotation such as `tuple[LabelConfig, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _section_in(argument)) is not None), None)
