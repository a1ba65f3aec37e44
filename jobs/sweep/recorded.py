"""A study's `figures.json`: what was measured of each cell, here or elsewhere, with what settings, judges and size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.sweep.run import Figures, settings_hash
from jobs.sweep.study import Cell, Study
from spti_ray.config.loading import ConfigError

Entry = dict[str, Any]
"""One cell's part of the file."""

_KEYS = {"group", "seed", "settings", "judges", "size", "run_seconds", "release", "generations"}


def entry(study: Study, cell: Cell, figures: Figures) -> Entry:
    return {
        "group": cell.group,
        "seed": cell.seed,
        "settings": list(cell.settings),
        "settings_hash": settings_hash(study, cell),
        "judges": list(study.judges),
        "size": study.size,
        "run_seconds": figures.seconds,
        "release": figures.release,
        "generations": figures.generations,
    } | ({"held_out": study.held_out} if study.held_out else {})


def figures_of(recorded: Entry, study: Study, cell: Cell) -> Figures | None:
    """What is recorded, if it was measured with what the study asks for now.

    The hash of all settings decides, however a study writes them. Of figures that earlier versions recorded it is not
    known which settings the configuration had; they are not used.
    """
    figures = Figures(recorded["release"], recorded["generations"], recorded["run_seconds"])
    # Seconds that are not a number are equal to themselves here: it is the same object.
    return figures if entry(study, cell, figures) == recorded | {"settings": list(cell.settings)} else None


def read_recorded(file: Path) -> dict[str, Entry]:
    """By the cells' folder names; empty if there is no such file. Raises ConfigError if it can't be read."""
    if not file.exists():
        return {}
    try:
        cells: dict[str, Entry] = json.loads(file.read_text(encoding="utf-8"))["cells"]
        for recorded in cells.values():
            if missing := _KEYS - recorded.keys():
                raise ValueError(f"no {min(missing)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{file} is not of this version of jobs.curve ({why}): move it away, then run again"
        ) from None
    return cells
