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
    try:
        run = parse_yaml(read_text(file))
        if not isinstance(run, dict) or not isinstance(run.get("config"), dict) or "run" not in run:
            raise ConfigError(f"{file}: not a run file; use another --out")
    except FileNotFoundError:
        raise ConfigError(f"{path}: holds no run (no {RUN_FILE})") from None
    except (OSError, Unreadable) as error:
        why = error if isinstance(error, Unreadable) else error.strerror
        raise ConfigError(f"{file}: {why}; restore the run's folder, or use another") from None
    return run


def write_run_file(path: Path, document: Mapping[str, Any]) -> None:
    """Write `run.yaml` in the folder `path`, whole or not at all."""
    write_atomic(path / RUN_FILE, yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True))
