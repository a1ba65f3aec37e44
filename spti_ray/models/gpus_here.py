"""How many GPUs engines of this machine can have, without loading a model library into this process."""

from __future__ import annotations

import subprocess
import sys

_COUNT = "import torch; print(torch.cuda.device_count())"
_WITHIN_S = 300.0


def gpus_here() -> int:
    """The GPUs that torch finds, as it is installed and as the environment lets it.

    Asked in a process of its own: what torch reads from the environment as it is imported is set for engines later.
    """
    try:
        told = subprocess.run(
            [sys.executable, "-c", _COUNT], stdin=subprocess.DEVNULL, capture_output=True, timeout=_WITHIN_S, check=True
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return 0
    return int(told[-1]) if told and told[-1].isdigit() else 0
