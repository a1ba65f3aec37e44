"""One cell of a study: `spti run`, then `spti evaluate`, each only if what it leaves is not there yet."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobs.sweep.study import Cell, Study
from spti_ray.config import Config
from spti_ray.config.identity import config_sha256
from spti_ray.config.loading import load_config
from spti_ray.config.method_traits import shards_vote
from spti_ray.io.files import write_atomic
from spti_ray.planning.checks import check_engines

_HASH = 10
"""Digits of a hash of settings."""

REFERENCES = "private-references"
"""In a study's working folder, the judges' embeddings of its private sets: INTERNAL, for their owner alone."""

_CLI = (sys.executable, "-c", "from spti_ray.cli import main; main()")


class CellFailed(RuntimeError):
    """A command of the cell failed; its last line."""


@dataclass(frozen=True)
class Figures:
    """What was measured of a cell: of its images, and of the texts of each generation where these have renders.

    Each is a list with an item for each judge (`release`) or judge and generation (`generations`), as in the file that
    `spti evaluate` writes.
    """

    release: list[dict[str, Any]]
    generations: list[dict[str, Any]]
    seconds: float
    """Of the run; not a number if it was resumed."""


def configured(study: Study, cell: Cell) -> Config:
    """The cell's configuration. Raises ConfigError if it can't be used."""
    config = load_config(study.config, cell.settings)
    check_engines(config)
    return config


def _has_renders(config: Config) -> bool:
    """Whether each generation has renders of its own."""
    return shards_vote(config) and "image" in config.evolution.spaces


def measure(study: Study, cell: Cell, work: Path) -> None:
    """Run and evaluate what is missing, in `work`/runs. Raises CellFailed; the same call goes on where it stopped."""
    out, clock = _run_of(study, cell, work)
    log = out.with_name(f"{out.name}.log")
    settings = [argument for setting in cell.settings for argument in ("--set", setting)]
    if not clock.exists():
        begun, fresh = time.monotonic(), not out.exists()
        _command(log, "run", str(study.config), "--out", str(out), *settings)
        write_atomic(clock, f"{time.monotonic() - begun:.1f}" if fresh else "nan")
    for what, file in _evaluations(study, cell, out).items():
        if not file.exists():
            judges = [argument for judge in study.judges for argument in ("--judge", judge)]
            more = ["--size", str(study.size)] if what == "release" else ["--generation", "all", "--candidates"]
            if study.held_out is not None and what == "release":
                more += ["--held-out", study.held_out]
            # Seeds tell how far a figure varies; an interval of each would take minutes.
            # Every cell of a private set is measured against the same embeddings.
            shared = ["--cache", str(work / REFERENCES)]
            _command(log, "evaluate", str(out), "--name", file.stem, "--resamples", "0", *shared, *judges, *more)


def there(study: Study, cell: Cell, work: Path) -> Figures | None:
    """What was measured of the cell, if all of it was."""
    out, clock = _run_of(study, cell, work)
    files = _evaluations(study, cell, out)
    if not clock.exists() or not all(file.exists() for file in files.values()):
        return None
    found = {what: json.loads(file.read_text(encoding="utf-8"))["results"] for what, file in files.items()}
    return Figures(found["release"], found.get("generations", []), float(clock.read_text(encoding="utf-8")))


def settings_hash(study: Study, cell: Cell) -> str:
    """Names all settings of the cell's run: with others it is another run, which the figures of this one are not of."""
    return config_sha256(configured(study, cell))[:_HASH]


def _run_of(study: Study, cell: Cell, work: Path) -> tuple[Path, Path]:
    """The cell's run, and the file that says that it is finished, and how long it took."""
    out = work / "runs" / f"{cell.folder}-{settings_hash(study, cell)}"
    return out, out.with_name(f"{out.name}.seconds")


def _evaluations(study: Study, cell: Cell, out: Path) -> dict[str, Path]:
    """Where `spti evaluate` writes. Other judges or another size are another evaluation; generations are compared where
    `plots.generations` draws them."""
    of = [study.judges, study.size, *([study.held_out] if study.held_out else [])]
    asked = hashlib.sha256(json.dumps(of).encode()).hexdigest()[:8]
    is_drawn = cell.group in {f"{method}@{study.ablations_at:g}" for method in study.methods}
    whats = ["release", "generations"] if is_drawn and _has_renders(configured(study, cell)) else ["release"]
    return {what: out / "internal" / "evaluation" / f"{what}-{asked}.json" for what in whats}


def _command(log: Path, *arguments: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as output:
        output.write(f"$ spti {' '.join(arguments)}\n")
        output.flush()
        code = _ended([*_CLI, *arguments], output)
    if code:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]
        raise CellFailed(f"spti {arguments[0]} failed (exit code {code}): {last}")


def _ended(words: list[str], output: IO[str]) -> int:
    """The exit code of a command. Ctrl-C reaches it too, and it is left the time to end by itself."""
    process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
