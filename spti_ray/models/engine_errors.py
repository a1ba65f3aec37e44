"""Why an engine could not be built, in one line: libraries say it in many, of which the last is a hint."""

from __future__ import annotations

from pydantic import ValidationError

LONGEST = 300
"""Characters of a line."""


class EngineNotBuilt(RuntimeError):
    """A library could not build an engine; one line that says which and why. Nothing private is there yet."""


def line_of(error: BaseException) -> str:
    """What an error says, in one line: pydantic's problems without their links, or its words as they are."""
    if isinstance(error, ValidationError):
        found = "; ".join(_problem(problem) for problem in error.errors(include_url=False, include_context=False))
        return _cut(f"{error.title}: {found}")
    text = _cut(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_one_line(error: BaseException) -> bool:
    """Whether an error's own text can be shown as it is."""
    return not isinstance(error, ValidationError) and 0 < len(str(error).splitlines()) <= 1


def _problem(problem: object) -> str:
    assert isinstance(problem, dict)
    said = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {said}" if place else said


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
