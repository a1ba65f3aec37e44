"""A folder for the caches of libraries where HOME can't be written: in containers that run with any user id."""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
from pathlib import Path


def writable_home() -> Path:
    """HOME, or where it can't be written a folder of this user's alone in the temporary folder, the same each time."""
    home = Path(os.path.expanduser("~"))
    if home.is_absolute() and home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return home
    folder = Path(tempfile.gettempdir()) / f"spti-home-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        found = None
    # Anybody may make a folder of this name there: models must not be read from somebody else's.
    ours = found and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if ours else Path(tempfile.mkdtemp(prefix="spti-home-"))


def set_home_and_user() -> None:
    """Give the libraries of this process, before they are imported, a HOME that they can write and a user's name."""
    before, home = Path(os.path.expanduser("~")), writable_home()
    if home != before:
        # Models that are there can still be read.
        if (before / ".cache" / "huggingface").is_dir():
            os.environ.setdefault("HF_HOME", str(before / ".cache" / "huggingface"))
        os.environ["HOME"] = str(home)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid{os.getuid()}"
