"""Make the bundled models from nothing, by one command that may be interrupted and given again.

python -m jobs.embedded.make --work runs/embedded               everything, one after the other
python -m jobs.embedded.make --work runs/embedded --only data   one of: data, encoder, captioner, autoencoder,
                                                                denoiser, evaluate
"""

from __future__ import annotations

import importlib
from pathlib import Path

from jobs.embedded.command import parser

STAGES = ("data", "encoder", "captioner", "autoencoder", "denoiser")


def make(work: Path, only: str | None = None) -> None:
    """Each stage that is not finished, then the figures. Importing a stage loads only what it needs."""
    for stage in STAGES:
        if only in (None, stage):
            importlib.import_module(f"jobs.embedded.{stage}").make(work)
    if only in (None, "evaluate"):
        importlib.import_module("jobs.embedded.evaluate").evaluate(work)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("--only", choices=[*STAGES, "evaluate"], help="this stage alone")
    given = command.parse_args()
    make(given.work, given.only)
