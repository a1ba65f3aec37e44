"""Measurements of a finished run's release (`spti measure`): their settings, and their folders beside the release.

DIR/measures/NAME/measure.yaml              the task, the measurement's id in the ledger, and whose release it measures
DIR/measures/NAME/probe.safetensors         the public probe, durable before any answer to it
DIR/measures/NAME/generations/00/           the noised counts (written by the gate)
DIR/measures/NAME/figure.json               the answer: counts, ratio, intervals
DIR/measures/NAME/privacy.json              its certificate
DIR/internal/measures/NAME/                 mode 0700: views of the records by the measurement's embedder, log, lock

A measurement is a run of its own in the ledger that goes on from the measured one: one query with k = 1.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from spti_ray import __version__
from spti_ray.config import Config, EngineConfig
from spti_ray.config.identity import resolved
from spti_ray.config.loading import ConfigError, parse_config, with_ledger_in
from spti_ray.config.measure import LabelAccuracy, Task
from spti_ray.config.method_traits import method_has_votes, stays_inside
from spti_ray.config.parsing import Unreadable, parse_json, parse_yaml, read_text
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import attempts_of
from spti_ray.errors import RunDamaged
from spti_ray.io.files import private_folder, sha256_of, write_atomic
from spti_ray.models.factory import engines_config
from spti_ray.probe import Probe
from spti_ray.runs.folder import LOCK_FILE, RunDir
from spti_ray.runs.run_file import read_run

MEASURES, MEASURE_FILE, PROBE_FILE, FIGURE_FILE = "measures", "measure.yaml", "probe.safetensors", "figure.json"
"""The folder of a run's measurements, and files in the folder of one."""

_LONGEST_NAME = 100
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")


class MeasuredRun:
    """A finished run with a certified release.

    Args:
        folder: the run's folder.

    Raises:
        ConfigError: the folder holds no such run.
    """

    def __init__(self, folder: Path) -> None:
        known = read_run(folder)
        self.folder, self.config = folder, parse_config(known["config"])
        if not method_has_votes(self.config) or stays_inside(self.config):
            raise ConfigError(
                f"{folder}: its run has no release with a certificate from votes, which a figure could go on from"
            )
        run = RunDir(folder, str(known["run"]), self.config)
        if not run.finished:
            raise ConfigError(f"{folder}: the run is not finished; run the same command again first")
        self.release = run.release
        if not all((self.release / name).is_file() for name in ("privacy.json", "manifest.parquet")):
            raise ConfigError(
                f"{folder}: has no certificate to go on from: its noise was simulated, or its release is not whole"
            )
        self.certified_run = self.config.certified_run(run.run_id)
        """By whose votes the release was made, as the ledger knows it."""

    def settings(self, task: Task) -> Config:
        """The configuration of the shards and of the noise of a measurement: one query with k = 1, by its embedder.

        Raises:
            ConfigError: the task does not fit the run; one line.
        """
        evolution = self.config.evolution
        if isinstance(task, LabelAccuracy):
            if len(evolution.labels) < 2:
                raise ConfigError(
                    f"task: label_accuracy asks for labels, and the run in {self.folder} has none; use task: coverage"
                )
            if task.checkpoint and set(task.checkpoint.classes) != set(evolution.label_names):
                raise ConfigError(
                    f"checkpoint.classes: must be the run's labels, {', '.join(evolution.label_names)}, and are "
                    f"{', '.join(task.checkpoint.classes)}"
                )
        raw = copy.deepcopy(resolved(self.config))
        engines = engines_config(self.config.runtime.engines).model_dump(mode="json")
        if task.embedder is not None:
            engines["image_embedder"] = task.embedder
        raw["runtime"] |= {"engines": engines, "take_turns": []}
        raw["evolution"] |= {"generations": 1, "voting": "image", "themes": [], "vocabulary": None}
        raw["privacy"] |= {"epsilon": task.epsilon, "spare_slots": task.spare_slots, "votes_per_record": 1}
        # Nothing is rendered: the run's filters must not refuse the embedder of a task.
        raw["release"] |= {"filters": None}
        raw["origin"] = {"run": self.certified_run, "path": str(self.folder)}
        config = parse_config(with_ledger_in(Path.cwd(), raw))
        try:
            engines_config(config.runtime.engines)
        except ValueError as error:
            raise ConfigError(str(error).replace("runtime.engines.image_embedder", "embedder")) from None
        return config

    def voted_by(self, embedder: EngineConfig) -> bool:
        """Whether the private images voted by the model of this image embedder, whatever its other settings."""
        own = engines_config(self.config.runtime.engines).image_embedder
        is_same = (own.model, own.revision) == (embedder.model, embedder.revision)
        return "image" in self.config.evolution.spaces and is_same


class MeasureDir(RunDir):
    """The folder of one measurement. What is private is inside of the run's own `internal`."""

    command = "spti measure"

    def __init__(self, measured: MeasuredRun, name: str, task: Task, config: Config) -> None:
        """Name it; nothing is read or written yet.

        Raises:
            ConfigError: the name is none.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(f"--name {name!r}: give a name of letters, digits, dots, dashes and underscores")
        super().__init__(measured.folder / MEASURES / name, "", config)
        self._internal = measured.folder / "internal" / MEASURES / name
        self._of, self.task, self.name = measured.certified_run, task, name
        # Not the defaults: with a setting that a later build has it is still the same task.
        asked = task.model_dump(mode="json", exclude_defaults=True)
        identity = [measured.certified_run, sha256_of(measured.release / "manifest.parquet"), asked]
        self.config_sha256 = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def internal(self) -> Path:
        private_folder(self._internal.parents[1])
        private_folder(self._internal.parent)
        return private_folder(self._internal)

    @property
    def finished(self) -> bool:
        """Whether the answer is there."""
        return (self.path / FIGURE_FILE).is_file()

    def is_of_this_task(self) -> bool:
        """Whether the measurement that the folder holds is by this task, of this run. Raises ConfigError."""
        return self.known_run() != "" and read_measure(self.path)["config_sha256"] == self.config_sha256

    def read_figure(self) -> dict[str, Any]:
        """The answer that is there.

        Raises:
            RunDamaged: it can't be read.
        """
        file = self.path / FIGURE_FILE
        try:
            found = parse_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise RunDamaged(f"{file}: is damaged; remove it, and the same command writes it again")
        return found

    def known_run(self) -> str:
        """The id of the measurement that the folder holds; empty if it holds none.

        Raises:
            ConfigError: what is there can't be read.
        """
        return str(read_measure(self.path)["run"]) if (self.path / MEASURE_FILE).exists() else ""

    def check_free(self, entries: Sequence[Entry]) -> None:
        """Refuse a folder that has anything else than this measurement.

        Args:
            entries: of the ledger. A measurement that it does not know was refused or killed before it was opened,
                and gives way.

        Raises:
            ConfigError: the folder holds another measurement; one line.
        """
        if self.path.exists() and not (self.path / MEASURE_FILE).exists() and any(self.path.iterdir()):
            raise ConfigError(f"{self.path} is not empty and holds no {MEASURE_FILE}; use another --name")
        before = self.known_run()
        if before and not self.is_of_this_task() and attempts_of(entries, before):
            raise ConfigError(
                f"{self.path} holds a measurement by another task or of other settings; use another --name, which is "
                "charged by itself"
            )

    def identify(self, entries: Sequence[Entry]) -> None:
        """Take the identity of the measurement that is there, or give it one. Locked by whoever calls this.

        Args:
            entries: of the ledger, as `check_free` takes them.

        Raises:
            ConfigError: the folder holds another measurement; one line.
        """
        self.check_free(entries)
        if self.is_of_this_task():
            self.run_id = self.known_run()
            return
        self.run_id = secrets.token_hex(8)
        self.path.mkdir(parents=True, exist_ok=True)
        document = {
            "run": self.run_id,
            "of": self._of,
            "config_sha256": self.config_sha256,
            "code_version": __version__,
            "task": self.task.model_dump(mode="json"),
        }
        (self.path / PROBE_FILE).unlink(missing_ok=True)
        write_atomic(self.path / MEASURE_FILE, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))

    def remove(self) -> None:
        """Remove what a measurement left that the ledger does not know. Locked by whoever calls this.

        Nothing goes where anything else is: what was measured was charged once, whatever this ledger says.
        """
        if not {entry.name for entry in self.path.glob("*")} <= {MEASURE_FILE, PROBE_FILE}:
            return
        # A kill in between must leave no probe without the file that says whose it is: nobody could take it up.
        for name in (PROBE_FILE, MEASURE_FILE):
            (self.path / name).unlink(missing_ok=True)
        for entry in self._internal.glob("*"):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != LOCK_FILE:  # Who waits for the lock has this file open: another one would not be held.
                with suppress(OSError):
                    entry.unlink()
        for folder in (self.path, self.path.parent):
            with suppress(OSError):  # it is not there, or holds something else
                folder.rmdir()


def name_of(task_file: Path) -> str:
    """The name of a measurement by its task's file: that of the file, with a dash for what no name may have.

    Raises:
        ConfigError: nothing is left of it.
    """
    stem = task_file.stem
    if _NAME.fullmatch(stem):
        return stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:_LONGEST_NAME]
    if not name:
        raise ConfigError(f"{task_file}: the measurement can't be named after this file; give it a --name")
    return name


def read_measure(folder: Path) -> dict[str, Any]:
    """What `measure.yaml` in a measurement's folder says.

    Raises:
        ConfigError: it can't be read; one line.
    """
    file = folder / MEASURE_FILE
    try:
        found = parse_yaml(read_text(file))
    except (OSError, Unreadable):
        found = None
    if not isinstance(found, dict) or not {"run", "of", "config_sha256", "task"} <= found.keys():
        raise ConfigError(f"{file}: not the file of a measurement; restore it, or use another --name")
    return found


def figure_section(figure: bytes) -> dict[str, Any]:
    """The certificate's section `release` of a measurement: the hash of its `figure.json`, which has these bytes."""
    return {"figure_sha256": hashlib.sha256(figure).hexdigest()}


def save_probe(folder: Path, probe: Probe, made: dict[str, Any]) -> None:
    """Write the public probe, and in words what it is made of, durably."""
    arrays = {"weights": probe.weights_AE, "offsets": probe.offsets_A, "right": probe.right_AL}
    said = {"labels": json.dumps(probe.labels), "by_class": json.dumps(probe.by_class), "made": json.dumps(made)}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomic(folder / PROBE_FILE, save(contiguous, metadata=said))


def load_probe(folder: Path) -> tuple[Probe, dict[str, Any]] | None:
    """The probe of a measurement and what it is made of; None if there is none yet.

    Raises:
        RunDamaged: the file is damaged.
    """
    file = folder / PROBE_FILE
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="np") as found:
            said = found.metadata()
            arrays = [found.get_tensor(name) for name in ("weights", "offsets", "right")]
        labels, by_class = tuple(json.loads(said["labels"])), bool(json.loads(said["by_class"]))
        return Probe(arrays[0], arrays[1], arrays[2], labels, by_class), dict(json.loads(said["made"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        raise RunDamaged(f"{file}: is missing or damaged; restore it") from None
