"""Gives libraries a writable HOME for their caches, also in containers that run with an arbitrary user id."""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
from pathlib import Path


def writable_home() -> Path:
    """HOME, or if it can't be written, this user's own folder in the temporary folder; the same one each time."""
    home = Path(os.path.expanduser("~"))
    if home.is_absolute() and home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return home
    folder = Path(tempfile.gettempdir()) / f"spti-home-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        found = None
    # Anybody can make a folder of this name there. Models must not be read from another user's folder.
    ours = found and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if ours else Path(tempfile.mkdtemp(prefix="spti-home-"))


def set_home_and_user() -> None:
    """Give this process a writable HOME and a user name. To be called before libraries are imported."""
    before, home = Path(os.path.expanduser("~")), writable_home()
    if home != before:
        # Models in the old HOME can still be read.
        if (before / ".cache" / "huggingface").is_dir():
            os.environ.setdefault("HF_HOME", str(before / ".cache" / "huggingface"))
        os.environ["HOME"] = str(home)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid{os.getuid()}"
