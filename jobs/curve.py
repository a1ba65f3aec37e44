"""The privacy-utility curve and the ablations: every method, epsilon and seed of a study, in one resumable command.

    python -m jobs.curve --study jobs/curve.yaml --work runs/curve
    python -m jobs.curve --study jobs/curve.yaml --work runs/curve --only ratios     the cells of the asked-for ratios
    python -m jobs.curve --study jobs/curve.yaml --work runs/curve --groups spti@1 random --seeds 0     these alone
    python -m jobs.curve --study jobs/curve.yaml --work runs/curve --only report     what is there, nothing is run
    python -m jobs.curve --study jobs/ablations.yaml --work runs/ablations     what each setting is worth

Each cell is an ordinary `spti run` and `spti evaluate` in `WORK/runs`; one that is finished is not run again, one that
was killed goes on. A run is found by the hash of its settings: with others it is another run. Then `report.md`,
`figures.json` and plots (over epsilon, over generations, of the ablations) are in WORK, of what is there. A cell that
WORK's `figures.json` has with the same settings, judges and size is not run either: a study goes on elsewhere from
that file alone. All of WORK is INTERNAL: the figures are of the private images. Every cell with an epsilon is charged
to the ledger of the configuration.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import timedelta
from pathlib import Path

from jobs.sweep import plots
from jobs.sweep.recorded import Entry, entry, figures_of, read_recorded
from jobs.sweep.run import CellFailed, Figures, configured, measure, there
from jobs.sweep.study import Cell, Study, as_document, cells, read_study
from jobs.sweep.tables import judges_of, of_set, report
from spti_ray.config.loading import ConfigError
from spti_ray.io.files import private_folder, write_atomic

_FIGURES = "figures.json"


def found(study: Study, asked: list[Cell], work: Path, recorded: dict[str, Entry]) -> dict[Cell, Figures]:
    """What was measured of the cells: by the runs in WORK, else as it was recorded."""
    measured: dict[Cell, Figures] = {}
    for cell in asked:
        figures = there(study, cell, work)
        if figures is None and cell.folder in recorded:
            figures = figures_of(recorded[cell.folder], study, cell)
        if figures is not None:
            measured[cell] = figures
    return measured


def sweep(study: Study, missing: list[Cell], work: Path) -> dict[Cell, str]:
    """Run and evaluate these cells, one after the other; what failed, and its line. One failure stops no other."""
    failed: dict[Cell, str] = {}
    begun = time.monotonic()
    for number, cell in enumerate(missing, 1):
        try:
            measure(study, cell, work)
            outcome = "measured"
        except CellFailed as error:
            failed[cell] = outcome = str(error)
        each = (time.monotonic() - begun) / number
        left = timedelta(seconds=round(each * (len(missing) - number)))
        print(f"[{number}/{len(missing)}] {cell.folder}: {outcome}; about {left} to go", flush=True)
    return failed


def write_report(study: Study, everyone: list[Cell], work: Path, recorded: dict[str, Entry], command: str) -> Path:
    """Tables and pictures of what was measured; the path of the tables. What was recorded otherwise is kept."""
    measured = found(study, everyone, work, recorded)
    missing = [cell for cell in everyone if cell not in measured]
    write_atomic(work / "report.md", report(study, measured, missing, command))
    document = {
        "study": as_document(study),
        "cells": recorded | {cell.folder: entry(study, cell, figures) for cell, figures in measured.items()},
    }
    write_atomic(work / _FIGURES, json.dumps(document, indent=1) + "\n")
    drawn = {"curve": plots.curve} if len(study.epsilons) > 1 else {}
    drawn |= {"generations": plots.generations} | ({"ablations": plots.ablations} if study.ablations else {})
    for subject in study.sets or ("",):
        of_subject = of_set(measured, subject)
        for judge in judges_of(of_subject)[:1]:
            for name, draw in drawn.items():
                file = f"{subject}-{name}.png" if subject else f"{name}.png"
                write_atomic(work / file, draw(study, of_subject, judge))
    return work / "report.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("jobs/curve.yaml"), help="what is compared (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/curve"), help="working folder (%(default)s)")
    parser.add_argument("--only", choices=("ratios", "curve", "ablations", "report"), help="these cells alone")
    parser.add_argument("--groups", nargs="+", help="of these the named ones, such as spti@1")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the study's seeds these alone")
    given = parser.parse_args()
    try:
        study = read_study(given.study)
        everyone = cells(study)
        asked = {group for ratio in study.ratios.values() for group in (ratio.of, ratio.over)}
        wanted = {
            None: everyone,
            "ratios": [cell for cell in everyone if cell.group in asked],
            "curve": [cell for cell in everyone if ": " not in cell.series],
            "ablations": [
                cell for cell in everyone if ": " in cell.series or cell.group == f"spti@{study.ablations_at:g}"
            ],
            "report": [],
        }[given.only]
        known = {cell.group for cell in everyone}
        if unknown := set(given.groups or ()) - known:
            raise ConfigError(f"--groups {sorted(unknown)[0]}: there are {', '.join(sorted(known))}")
        chosen = [
            cell
            for cell in wanted
            if cell.seed in (given.seeds or study.seeds) and cell.group in (given.groups or known)
        ]
        for cell in chosen:
            configured(study, cell)  # all are checked before the first is run
        work = private_folder(given.work)
        recorded = read_recorded(work / _FIGURES)
    except ConfigError as error:
        print(f"curve: {error}", file=sys.stderr)
        return 2
    measured = found(study, chosen, work, recorded)
    missing = [cell for cell in chosen if cell not in measured]
    if chosen:
        print(f"{len(chosen)} cells, {len(chosen) - len(missing)} are there", flush=True)
    command = f"python -m jobs.curve --study {given.study} --work {given.work}"
    try:
        failed = sweep(study, missing, work)
    except KeyboardInterrupt:
        print(f"curve: stopped; the same command goes on with it: {command}", file=sys.stderr)
        return 130
    print(f"written: {write_report(study, everyone, work, recorded, command)}")
    for cell, line in failed.items():
        print(f"curve: {cell.folder}: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
