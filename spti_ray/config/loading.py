"""Reads a configuration: YAML, `--set a.b=c` overrides, one-line errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from spti_ray.config import Config
from spti_ray.config.engine_presets import as_settings
from spti_ray.config.ledger_location import anchored
from spti_ray.config.parsing import DEEPEST, Unreadable, check_size, parse_yaml, read_text
from spti_ray.config.validation_errors import one_line


class ConfigError(ValueError):
    """A configuration that can't be used; the message is one line: what, where, what to do."""

    def __init__(self, message: str) -> None:
        # Keys and values of a YAML file may hold line breaks of their own.
        super().__init__(" ".join(message.split()))


_SHOWN = 100
_Section = TypeVar("_Section", bound=BaseModel)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration, apply overrides and validate it.

    A relative `ledger.path`, also of an override, is in the folder of the file; in the user's folder for a bundled one.

    Args:
        path: a YAML file, or `bundled:NAME` for one that comes with the package.
        overrides: settings as `a.b=value`, with values in YAML.

    Raises:
        ConfigError: one line that names the file or field.
    """
    file = _file_of(path)
    raw = read_mapping(file, "configuration file", "a mapping of sections, such as `privacy:`")
    # One file under two links has one ledger.
    folder = file.resolve().parent if file == path else None
    return parse_config(with_ledger_in(folder, with_overrides(raw, overrides)))


def with_ledger_in(folder: Path | None, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a configuration, with the folder that a relative `ledger.path` is in.

    Args:
        folder: that folder; None for the user's, where there is no configuration file.
        raw: the sections as they were read.

    Raises:
        ConfigError: the user has no home folder; one line.
    """
    try:
        return anchored(raw, folder)
    except ValueError as error:
        raise ConfigError(str(error)) from None


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
    """The YAML mapping in a file of settings.

    Args:
        path: the file.
        what: what it is, for the error line.
        expected: what should be in it, for the error line.

    Raises:
        ConfigError: one line that names the file.
    """
    try:
        raw = parse_yaml(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such {what}") from None
    except Unreadable as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected {expected}")
    return raw


def parse_config(raw: Mapping[str, Any]) -> Config:
    """Validate the sections of a configuration.

    Raises:
        ConfigError: the first problem, in one line.
    """
    return parse_section(Config, raw)


def parse_section(section: type[_Section], raw: Mapping[str, Any]) -> _Section:
    """Validate a mapping as one section by itself.

    Raises:
        ConfigError: the first problem, in one line.
    """
    check_settings(raw)
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(one_line(error, section)) from None


def check_settings(raw: Mapping[str, Any]) -> None:
    """Refuse settings that are nested too deeply, hold themselves, or are too large.

    Raises:
        ConfigError: one line.
    """
    try:
        check_size(raw)
    except Unreadable as error:
        raise ConfigError(f"the settings can't be used: {error}") from None


def with_overrides(raw: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply overrides to the sections of a configuration.

    Args:
        raw: the sections, which are changed in place and returned.
        overrides: settings as `a.b=value`, with values in YAML.

    Raises:
        ConfigError: an override can't be read, or its setting has no place; one line.
    """
    for override in overrides:
        key, separator, text = override.partition("=")
        *parents, leaf = key.strip().split(".")
        if not separator or not leaf or not all(parents) or len(parents) > DEEPEST:
            raise ConfigError(f"--set {_clipped(override)}: write it as section.key=value")
        try:
            value = parse_yaml(text)
        except Unreadable as error:
            raise ConfigError(f"--set {key}: {error}") from None
        node = raw
        for parent in parents:
            child = as_settings(node.get(parent))
            if isinstance(child, dict):
                node[parent] = child
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


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
