"""What is wrong with a setting, in one line: where it is, what was found, and how to write it."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_KEY = "[key]"
"""The end of the path of a mapping's key, as pydantic marks it."""
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
    "date_type": "should be a date, such as 2027-01-31",
    "date_parsing": "should be a date, such as 2027-01-31",
    "date_from_datetime_parsing": "should be a date, such as 2027-01-31",
    "date_from_datetime_inexact": "should be a date, such as 2027-01-31",
    "invalid_key": "is no name of a setting: write it in quotes if it is meant as one",
}
"""Our words for those of pydantic's kinds of error whose own words name Python types."""

_SAID_WITH: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda limit: f"should be more than {limit['gt']:g}",
    "greater_than_equal": lambda limit: f"should be at least {limit['ge']:g}",
    "less_than": lambda limit: f"should be less than {limit['lt']:g}",
    "less_than_equal": lambda limit: f"should be at most {limit['le']:g}",
    "literal_error": lambda known: f"should be {known['expected']}",
    "string_too_short": lambda limit: _at_least(limit["min_length"], "characters"),
    "too_short": lambda limit: _at_least(limit["min_length"], "entries"),
    "string_too_long": lambda limit: f"should have at most {limit['max_length']} characters",
    "too_long": lambda limit: f"should have at most {limit['max_length']} entries",
}
"""The same for kinds with a limit, which pydantic gives with the error."""


def one_line(error: ValidationError, section: type[BaseModel], where: str = "", values: bool = True) -> str:
    """The first problem of a section.

    Args:
        error: pydantic's.
        section: the section's class.
        where: the flat name of the section, as in `runtime.engines`; empty for the whole configuration.
        values: whether the line repeats the wrong value; not where that may be a secret, or an address with one.
    """
    problem = _most_telling(error)
    location = _as_written(section, problem)
    place = ".".join([*([where] if where else []), *(str(part) for part in location)])
    kind, got = problem["type"], _shown(problem, values)
    if kind == "extra_forbidden":
        return f"{place}: unknown key{nearest(str(location[-1]), _known_keys(section, location[:-1]))}"
    if kind == "missing":
        return f"{place}: required, but missing"
    as_yaml = str(got).lower() if isinstance(got, bool) else repr(got)
    found = f" (got {as_yaml})" if isinstance(got, (str, int, float, bool)) and len(as_yaml) < 80 else ""
    # Each branch of a union says what it would take.
    same = [other for other in error.errors(include_url=False) if _as_written(section, other) == location]
    lines = dict.fromkeys(_said(other, _shown(other, values), section, location) for other in same)
    said = " or ".join(lines).replace(" or should be ", " or ")
    if not place:
        return said
    return f"{place}: {said[0].lower()}{said[1:]}{found}"


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a line about an unknown name: the known name that is nearest to it, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def _at_least(count: int, what: str) -> str:
    return "should not be empty" if count == 1 else f"should have at least {count} {what}"


def _as_written(section: type[BaseModel], problem: ErrorDetails) -> list[str | int]:
    """The place of a problem as users wrote it.

    They wrote neither the branch of a union nor the mark of a mapping's key, which pydantic adds to the path.
    """
    written: list[str | int] = []
    kinds: list[Any] = [section]
    path = deque(problem["loc"])
    while path:
        if len(kinds) > 1:
            path.popleft()
            if not path:
                break
        part = path.popleft()
        if path and path[0] == _KEY:
            return [*written, _key_as_written(problem["input"])]
        written.append(part)
        kinds = [inner for kind in kinds for inner in _kinds_inside(kind, part)]
    return written


def _key_as_written(key: Any) -> str:
    return "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)


def _kinds_of(annotation: Any) -> list[Any]:
    """The branches of a union, without None, for which pydantic has none; of anything else itself."""
    if get_origin(annotation) is Annotated:
        return _kinds_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for branch in get_args(annotation) if branch is not NoneType for kind in _kinds_of(branch)]
    return [annotation]


def _kinds_inside(kind: Any, part: str | int) -> list[Any]:
    """What may stand at `part` of a section, list or mapping."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return _kinds_of(field.annotation) if field else []
    arguments = [argument for argument in get_args(kind) if argument is not Ellipsis]
    if get_origin(kind) is dict:
        return _kinds_of(arguments[1])
    if get_origin(kind) in (tuple, list, set, frozenset) and isinstance(part, int):
        return _kinds_of(arguments[min(part, len(arguments) - 1)])
    return []


def _shown(problem: ErrorDetails, values: bool) -> Any:
    """The wrong value, as far as it may be repeated."""
    got = problem.get("input")
    return None if not values or (isinstance(got, str) and "://" in got) else got


def _said(problem: ErrorDetails, got: Any, section: type[BaseModel], location: Sequence[str | int]) -> str:
    """What is wrong and how to write it, without the place; `got`: the wrong value, unless it must not be repeated."""
    kind, message = problem["type"], problem["msg"]
    if kind == "model_type":
        # In a list a name may stand for settings, and YAML may have taken it for something else.
        is_bare = isinstance(got, bool) and isinstance(location[-1], int)
        return _should_be_settings(_section_at(section, location)) + (f"; {_BARE}" if is_bare else "")
    if kind in ("tuple_type", "list_type", "set_type", "frozen_set_type"):
        single = isinstance(got, (str, int, float)) and not isinstance(got, bool) and len(str(got)) < 40
        return f"should be a list, such as [{got if single else 'a, b'}]"
    if kind == "string_type":
        if isinstance(got, bool):
            return f"should be text; {_BARE}"
        # For example a date, which YAML does not read as text unless it is in quotes.
        return "should be text" + ("" if isinstance(got, (Mapping, list, tuple)) else ": write it in quotes")
    if kind in ("literal_error", "dict_type") and list(location) == ["runtime", "engines"]:
        return "should be embedded, fake, or settings per role, such as {writer: {model: ...}}"
    if kind == "dict_type":
        return _should_be_mapping(next(iter(_kinds_at(section, location)), None))
    if kind == "string_pattern_mismatch":
        field = _field_at(section, location)
        like = f"be like {field.examples[0]}, and " if field and field.examples else ""
        return f"should {like}match the regular expression {problem.get('ctx', {}).get('pattern')}"
    if with_limit := _SAID_WITH.get(kind):
        return with_limit(problem.get("ctx") or {})
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


def _should_be_settings(section: type[BaseModel] | None) -> str:
    """What to write in the place of a section: the keys that it must have or its first ones, and all that are known."""
    if section is None:
        return "should be settings, such as {key: ...}"
    fields = section.model_fields
    shown = ([name for name, field in fields.items() if field.is_required()] or list(fields))[:_KEYS_SHOWN]
    more = f"; known: {', '.join(fields)}" if len(shown) < len(fields) else ""
    return "should be settings, such as {" + ", ".join(f"{key}: ..." for key in shown) + "}" + more


def _should_be_mapping(kind: Any) -> str:
    """What to write in the place of a mapping, by its annotation."""
    names = _names_in(get_args(kind)[0]) if get_origin(kind) is dict else []
    return f"should be settings, such as {_sketch(kind)}" + (f"; known: {', '.join(names)}" if names else "")


def _sketch(kind: Any) -> str:
    """A value of a kind, as in YAML."""
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        return f"{{{next(iter(_names_in(key)), 'key')}: {_sketch(value)}}}"
    return "[a, b]" if get_origin(kind) in (tuple, list, set, frozenset) else "value"


def _names_in(annotation: Any) -> list[str]:
    """The names that an annotation of literals allows; none where any name will do."""
    if get_origin(annotation) is Literal:
        return [str(name) for name in get_args(annotation)]
    return [name for branch in get_args(annotation) for name in _names_in(branch)]


def _kinds_at(section: type[BaseModel], location: Sequence[str | int]) -> list[Any]:
    """What may stand at a place below a section."""
    kinds: list[Any] = [section]
    for part in location:
        kinds = [inner for kind in kinds for inner in _kinds_inside(kind, part)]
    return kinds


def _field_at(section: type[BaseModel], location: Sequence[str | int]) -> FieldInfo | None:
    """The field at a place below a section, if it is one of a section's."""
    around = _section_at(section, location[:-1])
    return around.model_fields.get(str(location[-1])) if around else None


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
