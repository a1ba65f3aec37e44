"""The log of charged steps: each step is on disk before its noised gradient is drawn.

A crash loses the steps since the last saved state, and the training takes them again with fresh samples and fresh
noise. Somebody may have seen the lost steps, so they count too: the accountant composes the *charged* steps, of which
the plan pays for a fixed number, and not the steps that are left in the weights.
"""

from __future__ import annotations

import os
from pathlib import Path

from spti_ray.io.files import fsync_folder


class StepsExhausted(RuntimeError):
    """All steps that the noise pays for are charged."""


class StepLog:
    """An append-only file with one line for each step that was ever begun. The caller must hold the folder's lock."""

    def __init__(self, path: Path, max_steps: int) -> None:
        self._path = path
        self._max_steps = max_steps
        content = path.read_bytes() if path.exists() else b""
        # A line that a crash cut short is a charge too: its step may have been taken.
        self.charged = len(content.splitlines())
        if content and not content.endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    @property
    def is_exhausted(self) -> bool:
        """Whether all steps that the noise pays for are charged."""
        return self.charged >= self._max_steps

    def charge(self, step: int) -> None:
        """Charge one more step, durably, before anything of it is drawn.

        Raises:
            StepsExhausted: all steps are charged; nothing was charged now.
        """
        if self.is_exhausted:
            raise StepsExhausted(f"all {self._max_steps} steps that the noise pays for are charged")
        with self._path.open("ab") as file:
            file.write(f"{step}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        if self.charged == 0:
            fsync_folder(self._path.parent)
        self.charged += 1
