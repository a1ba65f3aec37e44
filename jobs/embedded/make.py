"""Make the bundled models from nothing, by one command that may be interrupted and given again.

python -m jobs.embedded.make --work runs/embedded               everything, one after the other
python -m jobs.embedded.make --work runs/embedded --only data   one of: data, encoder, captioner, autoencoder,
                                                                denoiser, evaluate
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

STAGES = ("data", "encoder", "captioner", "autoencoder", "denoiser")


def arguments(description: str | None, **flags: str) -> argparse.Namespace:
    """The command line of every script here: `--work`, and flags with their help."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/embedded"), help="working folder (%(default)s)")
    for name, help_text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=help_text)
    parser.add_argument("--only", choices=[*STAGES, "evaluate"], help=argparse.SUPPRESS)
    found = parser.parse_args()
    found.work.mkdir(parents=True, exist_ok=True)
    return found


def make(work: Path, only: str | None = None) -> None:
    """Each stage that is not finished, then the figures. Importing a stage loads only what it needs."""
    for stage in STAGES:
        if only in (None, stage):
            importlib.import_module(f"jobs.embedded.{stage}").make(work)
    if only in (None, "evaluate"):
        importlib.import_module("jobs.embedded.evaluate").evaluate(work)


if __name__ == "__main__":
    given = arguments(__doc__)
    make(given.work, given.only)
