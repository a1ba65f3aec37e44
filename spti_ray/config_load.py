"""Reads a configuration: YAML, `--set a.b=c` overrides, one-line errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from spti_ray.config import Config


class ConfigError(ValueError):
    """A configuration that can't be used; the message is one line: what, where, what to do."""

    def __init__(self, message: str) -> None:
        # Keys and values of a YAML file may hold line breaks of their own.
        super().__init__(" ".join(message.split()))


_Section = TypeVar("_Section", bound=BaseModel)


_BRANCH = re.compile(r"\[key\]$|(?:literal|dict)\[.*\]$", re.DOTALL)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read `path`, or `bundled:NAME` of the package, apply `a.b=value` overrides (values are YAML) and validate.

    Raises:
        ConfigError: one line that names the file or field.
    """
    raw = read_mapping(_file_of(path), "configuration file", "a mapping of sections, such as `privacy:`")
    return parse_config(with_overrides(raw, overrides))


def _file_of(path: Path) -> Path:
    """The file of a configuration, which may be one that comes with the package."""
    prefix, _, name = str(path).partition(":")
    if prefix != "bundled" or path.exists():
        return path
    folder = Path(str(resources.files("spti_ray"))) / "package_data" / "configs"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"{path}: no such bundled configuration; there are: {', '.join(known)}")
    return folder / f"{name}.yaml"


def read_mapping(path: Path, what: str, expected: str) -> dict[str, Any]:
    """The YAML mapping in a file of settings; `what` it is and what is `expected` in it are for the error line.

    Raises:
        ConfigError: one line that names the file.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({type(error).__name__})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}: not valid YAML{where}: {getattr(error, 'problem', 'syntax error')}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected {expected}")
    return raw


def parse_config(raw: Mapping[str, Any]) -> Config:
    """Validate a mapping. Raises ConfigError with the first problem in one line."""
    return parse_section(Config, raw)


def parse_section(section: type[_Section], raw: Mapping[str, Any]) -> _Section:
    """Validate a mapping as one section by itself. Raises ConfigError with the first problem in one line."""
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from None


def with_overrides(raw: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`raw`, changed in place by `a.b=value` overrides. Raises ConfigError in one line."""
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {override}: write it as section.key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--set {key}: the value is not valid YAML") from None
        node = raw
        *parents, leaf = key.strip().split(".")
        for parent in parents:
            child = node.get(parent)
            if child is None:
                child = node[parent] = {}
            if not isinstance(child, dict):
                # `runtime.engines: embedded` becomes a mapping when one of its roles is set.
                if parent == "engines" and child == "embedded":
                    child = node[parent] = {}
                elif parent == "engines" and child == "fake":
                    raise ConfigError(f"--set {key}: the fake engines take no settings")
                else:
                    raise ConfigError(f"--set {key}: {parent} is not a section")
            node = child
        node[leaf] = float(value) if isinstance(value, str) and _is_float(value) else value
    return raw


def _is_float(text: str) -> bool:
    """YAML 1.1 reads `1e-5` as a string; users mean a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _one_line(error: ValidationError) -> str:
    problem = _most_telling(error)
    # A union adds the name of its branch to the path, and a mapping marks its key; users wrote neither.
    location = [part for part in problem["loc"] if not (isinstance(part, str) and _BRANCH.match(part))]
    where = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(_known_keys(location[:-1]))}"
        return f"{where}: unknown key{hint}"
    if problem["type"] == "missing":
        return f"{where}: required, but missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = problem.get("input")
    shown = f" (got {got!r})" if isinstance(got, (str, int, float, bool)) and len(repr(got)) < 80 else ""
    if not where:
        return message
    return f"{where}: {message[0].lower()}{message[1:]}{shown}"


def _most_telling(error: ValidationError) -> ErrorDetails:
    """The first problem, but a misspelt key before the key that it leaves missing."""
    problems = error.errors(include_url=False)
    # `runtime.engines: {...}` fails as a name too, which says nothing of what is wrong inside.
    inside = [p for p in problems if not (p["type"] == "literal_error" and isinstance(p["input"], Mapping))]
    return next((p for p in problems if p["type"] == "extra_forbidden"), (inside or problems)[0])


def _known_keys(location: Sequence[str | int]) -> list[str]:
    model: Any = Config
    for part in location:
        if isinstance(part, int) or not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        field = model.model_fields.get(part)
        model = _model_in(field.annotation) if field else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _model_in(annotation: Any) -> Any:
    """The section class in an annotation such as `tuple[LabelConfig, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
