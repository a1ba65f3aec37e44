"""Whether the ledger that a configuration names holds all charges of its dataset and of its run.

A charge in another ledger would not count any more. That can happen: earlier builds looked for a relative `ledger.path`
in the folder that a run was started from, so one configuration had a ledger in each of them; and a configuration or a
ledger may have been moved since its run was started.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from spti_ray.config import Config
from spti_ray.config.ledger_location import DEFAULT, earlier_locations, is_fixed, location_of, same_ledger
from spti_ray.config.method_traits import uses_private_data
from spti_ray.dp.chain import Chain, LedgerError, head_of
from spti_ray.dp.entries import GENESIS, Entry
from spti_ray.dp.history import attempts_of, unprotected_runs
from spti_ray.dp.storage import open_chain
from spti_ray.io.files import is_url
from spti_ray.runs.folder import RunDir
from spti_ray.runs.looks import CHECK_FILES
from spti_ray.runs.run_file import read_run

_OF_A_START = {"run.yaml", "driver.lock", "driver.log"} | {*CHECK_FILES}
"""Files in a run folder after a start that ended before it asked the ledger, and those of `spti check` before one."""


class LedgerElsewhere(LedgerError):
    """Charges of the dataset, or of the run, are in another ledger than the one that is named now."""


def place_of(config: Config) -> str:
    """The full path or URL of the dataset's ledger, for people. Opens nothing."""
    where, dataset = config.ledger.location, config.dataset.id
    return f"{where}/{dataset}" if is_url(where) else open_chain(where, dataset).location


def check_ledger(config: Config, out: Path | None = None) -> None:
    """Refuse a run whose ledger lacks charges that were made of the dataset, or of the run that `out` holds.

    Args:
        config: the configuration as it is now.
        out: the run's folder; None where no run is meant, as in planning.

    Raises:
        LedgerElsewhere: there are such charges; one line with both places.
    """
    if not uses_private_data(config):
        return
    dataset, section = config.dataset.id, config.ledger
    for earlier in earlier_locations(section.path, section.relative_to):
        before, now = open_chain(earlier, dataset), open_chain(section.location, dataset)
        if not _is_contained(before, now):
            advice = f"move it there, or set ledger.path: {earlier}"
            if now.read().entries:
                advice = "set ledger.path to the one that is to hold from now on: no budget holds for both"
            raise LedgerElsewhere(
                f"dataset {dataset}: its ledger is now {now.location}, but there is also {before.location}, where an "
                f"earlier version of spti-ray kept it; {advice}"
            )
    if out is not None and (out / "run.yaml").is_file():
        _check_resumed(config, out)


def _check_resumed(config: Config, out: Path) -> None:
    """Raise LedgerElsewhere if the run in `out` was started with another ledger.

    Two cases are fine: that ledger was moved to where the configuration now says; or neither ledger knows the run and
    nothing was made in it, because its first start failed, such as by a mistyped ledger.
    """
    known = read_run(out)
    stored = known["config"].get("ledger") or {}
    if same_ledger(stored, config.ledger.model_dump()):
        return
    path, folder = str(stored.get("path", DEFAULT)), stored.get("relative_to")
    where = location_of(path, folder)
    before, now = open_chain(where, config.dataset.id), open_chain(config.ledger.location, config.dataset.id)
    run, entries = str(known["run"]), now.read().entries
    if _knows(entries, run):
        fits = _is_contained(before, now)
    else:
        # An earlier build did not store the folder that its relative path was in.
        fits = (folder is not None or is_fixed(path)) and _never_asked(out) and _knows_nothing(before, run)
    if not fits:
        raise LedgerElsewhere(
            f"{out} holds a run that was started with the ledger {before.location}; now it would be {now.location}, "
            "which may lack charges of it: set ledger.path (and --set) as they were, or move that ledger there as a "
            "whole"
        )


def keep_ledger(config: Config, run: RunDir) -> None:
    """Store in `run.yaml` which ledger a run goes on with, before anything is charged there.

    Args:
        config: the configuration as it is now.
        run: the run's folder, whose lock the caller holds.

    Raises:
        LedgerElsewhere: as `check_ledger`, since another driver may have charged the run after that check.
    """
    if not uses_private_data(config):
        return
    _check_resumed(config, run.path)
    stored, now = read_run(run.path)["config"].get("ledger") or {}, config.ledger.model_dump(mode="json")
    if not same_ledger(stored, now):
        run.note_ledger(now)
    elif stored.get("relative_to") is None and not is_fixed(str(stored.get("path", DEFAULT))):
        # Stored by an earlier build. The check above found that the path is relative to the current folder.
        run.note_ledger({**stored, "relative_to": str(Path.cwd())})


def _never_asked(out: Path) -> bool:
    """Whether a run was only started: before anything is charged, what it is charged for is on disk."""
    internal = out / "internal"
    found = [path for path in (*out.iterdir(), *(internal.iterdir() if internal.is_dir() else ())) if path != internal]
    return all(path.name in _OF_A_START or path.name[0] == "." for path in found)


def _knows(entries: Sequence[Entry], run: str) -> bool:
    return bool(attempts_of(entries, run)) or run in {look.run for look in unprotected_runs(entries)}


def _knows_nothing(chain: Chain, run: str) -> bool:
    """Whether a ledger has no entry of a run. A ledger that can't be read may have some."""
    try:
        return not _knows(chain.read().entries, run)
    except (LedgerError, OSError):
        return False


def _is_contained(before: Chain, now: Chain) -> bool:
    """Whether all entries of `before` are in `now`. A `before` that can't be read may hold others."""
    if _is_one_file(before.location, now.location):
        return True
    try:
        entries = before.read().entries
    except (LedgerError, OSError):
        return False
    return not entries or _has(now.read().entries, head_of(entries))


def _has(entries: Sequence[Entry], head: str) -> bool:
    return head == GENESIS or any(entry.hash == head for entry in entries)


def _is_one_file(a: str, b: str) -> bool:
    return a == b or (os.path.exists(a) and os.path.exists(b) and os.path.samefile(a, b))
