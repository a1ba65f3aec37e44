"""Which GPUs an actor's process may see: those that Ray gave it, and so none where it was given none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}
"""Ray 2.60 sets it for actors with GPUs alone, and leaves all others the node's own: every GPU."""


def environment(variables: Mapping[str, str], num_gpus: float) -> dict[str, Any]:
    """The option `runtime_env` of an actor.

    Args:
        variables: Environment variables of its process.
        num_gpus: What Ray gives it.
    """
    return {"runtime_env": {"env_vars": dict(variables) if num_gpus else {**variables, **HIDDEN}}}
