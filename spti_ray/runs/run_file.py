"""`run.yaml`, which makes a folder a run folder: the run's id, its configuration and the configuration's hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from spti_ray.config import Config
from spti_ray.config.identity import as_stored, with_later_settings
from spti_ray.config.loading import ConfigError
from spti_ray.config.parsing import Unreadable, parse_yaml, read_text
from spti_ray.io.files import write_atomic

RUN_FILE = "run.yaml"
"""Its name in the run folder."""

_OF_A_RELEASE = ("manifest.parquet", "datasheet.md")


def read_run(path: Path) -> dict[str, Any]:
    """The run in a folder, with the settings that are newer than the build which wrote it.

    Args:
        path: the run folder.

    Returns:
        `run` (its id), `config`, `config_sha256` and `code_version`. A setting that the build did not have is filled
        in as what that build did.

    Raises:
        ConfigError: the folder holds no run, or its `run.yaml` can't be read; one line.
    """
    run = read_run_file(path)
    return run | {"config": with_later_settings(run["config"])}


def continued(path: Path, config: Config) -> Config:
    """`config` as it applies to the run in a folder, which an earlier build may have begun.

    A setting that the earlier build did not have, and that `config` leaves at its default, means what that build did.

    Args:
        path: the run folder; where it holds no run, `config` is returned as it is.
        config: the configuration of this start.

    Raises:
        ConfigError: as `read_run`.
    """
    return as_stored(config, read_run_file(path)["config"]) if (path / RUN_FILE).exists() else config


def read_run_file(path: Path) -> dict[str, Any]:
    """What `run.yaml` in the folder `path` says, to the letter.

    Raises:
        ConfigError: as `read_run`.
    """
    file = path / RUN_FILE
    if path.is_file():
        raise ConfigError(_what_it_is(path))
    try:
        run = parse_yaml(read_text(file))
        if not isinstance(run, dict) or not isinstance(run.get("config"), dict) or "run" not in run:
            raise ConfigError(
                f"{file}: is no run's file, as spti run writes it in the folder of --out; name such a folder"
            )
    except FileNotFoundError:
        raise ConfigError(_what_it_is(path)) from None
    except (OSError, Unreadable) as error:
        why = error if isinstance(error, Unreadable) else error.strerror
        raise ConfigError(f"{file}: {why}; restore the run's folder, or use another") from None
    return run


def _what_it_is(path: Path) -> str:
    """A line about a place that holds no run, and what to give instead."""
    if path.is_file():
        folder = f", such as {path.parent}" if is_run(path.parent) else ""
        return f"{path}: is a file; name a run's folder{folder}"
    if not path.exists():
        return f"{path}: there is no such folder; name a run's, which was the --out of spti run"
    if inside := next((folder for folder in path.resolve().parents if is_run(folder)), None):
        return f"{path}: is a part of a run; name the run's folder, {inside}"
    if is_release(path):
        return f"{path}: is a release without its run (no {RUN_FILE}), which spti verify, export and compare take"
    return f"{path}: holds no run (no {RUN_FILE}); name a run's folder, which was the --out of spti run"


def is_run(folder: Path) -> bool:
    """Whether a run is in the folder: it has that run's file, and not a configuration of the same name."""
    try:
        found = parse_yaml(read_text(folder / RUN_FILE))
    except (OSError, Unreadable):
        return (folder / RUN_FILE).is_file() and (folder / "internal").is_dir()
    return isinstance(found, dict) and "run" in found and "config" in found


def is_release(folder: Path) -> bool:
    """Whether the folder is a release, in a run's folder or elsewhere, or an export of one."""
    return all((folder / name).is_file() for name in _OF_A_RELEASE)


def write_run_file(path: Path, document: Mapping[str, Any]) -> None:
    """Write `run.yaml` in the folder `path`, whole or not at all."""
    write_atomic(path / RUN_FILE, yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True))
