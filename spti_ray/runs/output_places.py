"""Whether a command may write where it is told to: asked before any work, by every command that writes.

What belongs to a run or a release is written by the run alone. All else is left to the file system, which is asked by
a file without a name.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spti_ray.config.loading import ConfigError
from spti_ray.runs.run_file import is_release, is_run


def check_folder(option: str, path: Path, of_run: bool = False, internal: bool = False) -> None:
    """Refuse a folder that can't be written into, or is a part of a run or of a release.

    Args:
        option: by which it was given, for the line.
        path: the folder, which need not exist.
        of_run: whether it may itself be the folder of a run.
        internal: whether it may be in the internal folder of a run, as what nobody else may see.

    Raises:
        ConfigError: one line.
    """
    try:
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{option} {path}: is a file; give a folder")
        whole = path.resolve()
        _check_owner(option, path, [*([] if of_run else [whole]), *whole.parents], internal)
        check_writable(option, path)
    except (OSError, RuntimeError) as error:
        raise _refusal(option, path, None, error) from None


def check_file(option: str, path: Path) -> None:
    """Refuse a file whose folder is not there, can't be written into, or is a part of a run or of a release.

    Args:
        option: by which it was given, for the line.
        path: the file, which need not exist.

    Raises:
        ConfigError: one line.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{option} {path}: is a folder; name a file in it")
        if path.parent.exists() and not path.parent.is_dir():
            raise ConfigError(f"{option} {path}: {path.parent} is a file and no folder; name a file elsewhere")
        if not path.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {path.parent}; make it, or name another")
        _check_owner(option, path, path.resolve().parents)
        check_writable(option, path.parent, path)
    except (OSError, RuntimeError) as error:
        raise _refusal(option, path, None, error) from None


def _check_owner(option: str, path: Path, folders: Sequence[Path], internal: bool = False) -> None:
    for folder in folders:
        if is_run(folder) and not (internal and path.resolve().is_relative_to(folder / "internal")):
            raise ConfigError(f"{option} {path}: is in the folder of a run, {_shown(folder)}; name a place elsewhere")
        if is_release(folder):
            raise ConfigError(f"{option} {path}: is in a release, {_shown(folder)}; name a place elsewhere")


def check_writable(option: str, folder: Path, path: Path | None = None) -> None:
    """Write an empty file into a folder, or into the nearest above it that is there.

    Args:
        option: by which it was given, for the line.
        folder: which need not exist.
        path: what was given, if it is not the folder.

    Raises:
        ConfigError: it can't be written; one line.
    """
    nearest = folder
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise ConfigError(f"{option} {path or folder}: {nearest} is a file and no folder; name a place elsewhere")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise _refusal(option, path or folder, nearest, error) from None


def _refusal(option: str, path: Path, where: Path | None, error: OSError | RuntimeError) -> ConfigError:
    why = (error.strerror or "").lower() if isinstance(error, OSError) else "links in a circle"
    can_not = f"nothing can be written in {where}" if where else "can't be a place"
    return ConfigError(f"{option} {path}: {can_not} ({why}); name a place elsewhere")


def _shown(folder: Path) -> str:
    """A folder as people named it, if it is below where they are."""
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)
