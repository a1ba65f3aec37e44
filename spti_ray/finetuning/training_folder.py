"""The folder of a training: its lock, its fixed settings, and the state from which it resumes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save

from spti_ray.finetuning.dp_sgd import DpSgd
from spti_ray.finetuning.public_interface import FinetuneFailed, FolderBusy
from spti_ray.io.files import atomic_file, write_atomic


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two processes in one folder would take the same steps twice.

    Raises:
        FolderBusy: another process holds it.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusy(f"another process trains in {folder}") from None
        yield
    finally:
        os.close(descriptor)


def check_settings(file: Path, identity: dict[str, object]) -> None:
    """Write the settings of a training at its first start, and refuse other ones afterwards.

    Args:
        file: Where the settings are kept.
        identity: The settings, as JSON values.

    Raises:
        FinetuneFailed: the folder holds a training of other settings; names those that differ.
    """
    mine = json.loads(json.dumps(identity))
    if not file.exists():
        write_atomic(file, json.dumps(mine, indent=2) + "\n", mode=0o600)
        return
    theirs = json.loads(file.read_text(encoding="utf-8"))
    changed = [key for key in mine if theirs.get(key) != mine[key]]
    if changed:
        raise FinetuneFailed(
            f"{file.parent} holds a training of other settings ({', '.join(changed)}): use another folder"
        )


def save_state(trainer: DpSgd, folder: Path) -> None:
    """Save the trainer's state in one file, so that weights and step always belong together."""
    tensors, note = trainer.state()
    with atomic_file(folder / "state.safetensors", mode=0o600) as file:
        file.write(save(tensors, {"note": note}))


def restore_state(trainer: DpSgd, folder: Path) -> None:
    """Restore the trainer's saved state, if there is one."""
    state = folder / "state.safetensors"
    if state.exists():
        with safe_open(state, framework="pt") as file:
            trainer.restore({name: file.get_tensor(name) for name in file.keys()}, file.metadata()["note"])  # noqa: SIM118
