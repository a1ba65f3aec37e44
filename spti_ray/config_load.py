"""Reads a configuration: YAML, `--set a.b=c` overrides, one-line errors, and the hash a run is known by."""

from __future__ import annotations

import difflib
import hashlib
import json
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

# What may change between two starts of one run: where and how it runs, not what it computes or what it costs.
_FREE_TO_CHANGE = (
    "dataset.registration",
    "origin.path",
    "runtime.address",
    "runtime.node_labels",
    "runtime.placement_timeout_s",
    "runtime.autoscaling",
    "runtime.take_turns",
    "runtime.engine_metrics",
    "runtime.unit_attempts",
    "runtime.unit_crashes",
    "runtime.unit_timeout_s",
    "runtime.in_flight_per_actor",
    "runtime.shards",
    "finetune.records_at_once",
    "finetune.save_every_s",
)
_FREE_ENGINE_SETTINGS = (".replicas", ".max_replicas", ".num_cpus", ".num_gpus", ".accelerators", ".threads")


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


def resolved(config: Config) -> dict[str, Any]:
    """The configuration with all defaults filled in, as plain JSON/YAML values."""
    return config.model_dump(mode="json")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"privacy": {"epsilon": 1}}` becomes `{"privacy.epsilon": 1}`; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _is_free(key: str) -> bool:
    """Whether a flat key is one of `_FREE_TO_CHANGE`, or of a mapping that is."""
    return any(f"{key}.".startswith(f"{free}.") for free in _FREE_TO_CHANGE)


def pinned(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The flat settings that a run must keep from its first start to its release."""
    settings = {key: value for key, value in flatten(tree).items() if not _is_free(key)}
    engines = [key for key in settings if key.startswith("runtime.engines.")]
    for key in engines:
        if key.endswith(_FREE_ENGINE_SETTINGS):
            del settings[key]
    if engines and not any(key in settings for key in engines):
        # Only sizes were set, on top of the embedded engines: the same engines as without them.
        settings["runtime.engines"] = "embedded"
    return settings


def config_sha256(config: Config) -> str:
    """Hash of the pinned settings; a run folder belongs to exactly one."""
    text = json.dumps(pinned(resolved(config)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of the pinned settings that differ between two resolved configurations."""
    old, new = pinned(before), pinned(after)
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
