"""Looks at the private images before a run: noted in its folder, and told to the ledger once it has the dataset.

A look by `spti check` comes before the run is opened, and often before the dataset is registered. So the run's id is
fixed by the first look, and whatever ledger the run is charged in gets all of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spti_ray.config.loading import ConfigError
from spti_ray.config.parsing import parse_json
from spti_ray.dp.ledger import Ledger
from spti_ray.io.files import private_folder, write_atomic

LOOKS_FILE = "looks.json"

CHECK_FILES = (LOOKS_FILE, "check.html", "ingest.jsonl", "problems.json", "views", "survey")
"""What `spti check` leaves in the internal folder."""


def noted_run(path: Path) -> str:
    """The id that a look gave to the run of a folder; empty if there was none.

    Args:
        path: the run's folder.

    Raises:
        ConfigError: the note can't be read.
    """
    return str(_noted(path)["run"])


def note_look(path: Path, run_id: str, what: str) -> None:
    """Note a look, before anything is looked at. `what`: in words, with its time."""
    note = {"run": run_id, "looks": [*_noted(path)["looks"], what]}
    write_atomic(private_folder(path / "internal") / LOOKS_FILE, json.dumps(note, indent=1) + "\n", mode=0o600)


def record_looks(path: Path, run_id: str, ledger: Ledger) -> None:
    """Tell a ledger, in which the dataset is registered, all looks that are noted in a run's folder; each once.

    Raises:
        ConfigError: the note can't be read.
    """
    for what in _noted(path)["looks"]:
        ledger.record_unprotected_run(run_id, what)


def _noted(path: Path) -> dict[str, Any]:
    file = path / "internal" / LOOKS_FILE
    try:
        note = parse_json(file.read_text(encoding="utf-8"))
        return {"run": str(note["run"]), "looks": [str(what) for what in note["looks"]]}
    except FileNotFoundError:
        return {"run": "", "looks": []}
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{file}: can't be read, and says who looked at the data; restore it") from None
