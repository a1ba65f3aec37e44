"""Where the ledger of a configuration is: one place, from whichever folder a run is started.

A relative `ledger.path` is in the folder of the configuration file. Configurations that come with the package or from
Python have no file; there it is in a folder of the user. `ledger.relative_to` stores which folder it was. What earlier
builds stored in `run.yaml` lacks that; there a relative path is in the current folder, as it was then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spti_ray.io.files import is_url

DEFAULT = "ledger"

_FORMERLY = "runs/ledger"
"""`ledger.path` of the configurations that came with earlier builds. The bundled ones leave it to the default now."""
_SAY_NOW = ("../runs/ledger", "/runs/ledger")
"""`ledger.path` of the configurations in `jobs/` now."""


def user_folder() -> Path:
    """The folder of the user's data (`XDG_DATA_HOME`, else `~/.local/share`), with the name of this program.

    Raises:
        ValueError: there is no home folder; one line that says what to do.
    """
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # the standard says: to be ignored then
        data = os.path.expanduser("~/.local/share")
    if not os.path.isabs(data):
        raise ValueError("ledger.path: there is no home folder to keep a ledger in; give an absolute path or a bucket")
    return Path(data) / "spti-ray"


def is_fixed(path: str) -> bool:
    """Whether a `ledger.path` is a URL or an absolute path, which means the same wherever it is read."""
    return is_url(path) or os.path.isabs(os.path.expanduser(path))


def anchored(raw: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """The sections of a configuration, with the folder of a relative `ledger.path` as `ledger.relative_to`.

    A `relative_to` that is there is kept. A section that is not valid stays as it is, for validation to refuse.

    Args:
        raw: the sections as they were read.
        folder: that folder; None for the user's.

    Raises:
        ValueError: as `user_folder`.
    """
    section = raw.get("ledger", {})
    if not isinstance(section, dict) or section.get("relative_to") is not None:
        return dict(raw)
    path = section.get("path", DEFAULT)
    if not isinstance(path, str) or is_fixed(path):
        return dict(raw)
    return {**raw, "ledger": {**section, "relative_to": str(folder or user_folder())}}


def location_of(path: str, relative_to: str | None) -> str:
    """The URL or absolute path of the folder of ledgers.

    Args:
        path: `ledger.path`; `~` at its beginning is a home folder.
        relative_to: the folder that a relative path is in; None for the current one, as earlier builds had it.
    """
    if is_url(path):
        return path.rstrip("/")
    return str(Path(relative_to or ".", os.path.expanduser(path)).resolve())


def earlier_locations(path: str, relative_to: str | None) -> tuple[str, ...]:
    """The folders where an earlier build, started from the current folder, would have kept this ledger.

    Earlier builds took every path as relative to the current folder, even one that began with `~`.
    """
    names = set[str]() if is_url(path) or os.path.isabs(path) else {path}
    if path in _SAY_NOW or (path == DEFAULT and _is_the_users(relative_to)):
        names.add(_FORMERLY)
    found = {str(Path(name).resolve()) for name in names}
    return tuple(sorted(found - {location_of(path, relative_to)}))


def _is_the_users(folder: str | None) -> bool:
    try:
        return folder == str(user_folder())
    except ValueError:
        return False  # whoever has no home has no folder of that kind


def same_ledger(stored: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two resolved `ledger` sections mean the same place, each by the rule of the build that wrote it."""
    a, b = (location_of(str(one.get("path", DEFAULT)), one.get("relative_to")) for one in (stored, now))
    return a == b
