"""The run folder: where everything is in it, which run it belongs to, and its lock.

DIR/run.yaml                         resolved configuration, its hash, the run's id (`run_file`)
DIR/generations/NN/candidates.parquet   texts and embeddings, durable before any vote on them (`generation_store`)
DIR/generations/NN/renders.parquet      renders made in this generation (survivors': in an earlier one)
DIR/generations/NN/histogram-*.arrow    the committed noised histogram (written by the gate)
DIR/generations/NN/selected.parquet     survivors in rank order
DIR/release/                         the only folder meant to leave
DIR/internal/                        mode 0700; everything that is not differentially private. A run that is not private
                                     has its generations and images here (internal/generations, internal/not-private);
                                     one without a certificate has its training and images here (internal/finetune,
                                     internal/not-certified)
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spti_ray import __version__
from spti_ray.config import Config
from spti_ray.config.identity import changed_keys, config_sha256, resolved
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import stays_inside, why_not_private
from spti_ray.io.files import private_folder, remove_abandoned, write_atomic
from spti_ray.io.urls import redacted
from spti_ray.runs import looks
from spti_ray.runs.run_file import RUN_FILE, read_run, read_run_file, write_run_file

NOT_PRIVATE, NOT_CERTIFIED = "NOT-PRIVATE.txt", "NOT-CERTIFIED.txt"
"""Files beside images that nothing protects, or that have no certificate."""

LOCK_FILE = "driver.lock"
"""In the internal folder. It stays when the lock is given back."""

_LOCK_ATTEMPTS = 3
"""More than one, because `locked` of another process takes the lock for a moment to see whether it is held."""


class RunDir:
    """A folder that belongs to one configuration and, while it runs, to one driver."""

    command = "spti run"
    """Whose folder this is, in messages."""

    def __init__(self, path: Path, run_id: str, config: Config) -> None:
        self.path = path
        self.run_id = run_id
        self.config = config
        self.config_sha256 = config_sha256(config)
        self._internal = path / "internal"
        self._lock: int | None = None

    @classmethod
    def open(cls, path: Path, config: Config) -> RunDir:
        """Create the folder, or join the run that it holds, and lock it until the process ends or `unlock`.

        Args:
            path: the run folder, which need not exist.
            config: the run's configuration.

        Raises:
            ConfigError: the folder holds a run of another configuration (the line names what differs) or something
                else, or another driver works in it.
        """
        run_file = path / RUN_FILE
        if path.exists() and not run_file.exists() and not _is_vacant(path):
            raise ConfigError(f"{path} is not empty and holds no run.yaml; use another --out")
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path, "", config)
        run.lock()
        try:
            run._identify(run_file)
        except BaseException:
            run.unlock()
            raise
        return run

    @classmethod
    def before_run(cls, path: Path, config: Config) -> RunDir:
        """The folder of a run to come, locked. Nothing of the run is fixed but its id: the configuration may change.

        Raises:
            ConfigError: the folder holds something else, or another driver works in it.
        """
        if path.exists() and not _is_vacant(path):
            raise ConfigError(f"{path} is not empty and holds no run.yaml; use another --out")
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path, "", config)
        run.lock()
        try:
            run.run_id = looks.noted_run(path) or secrets.token_hex(8)
        except BaseException:
            run.unlock()
            raise
        return run

    def _identify(self, run_file: Path) -> None:
        """Take the identity of the run that is there, or give it one."""
        if run_file.exists():
            known = read_run(self.path)
            # `ledger_check.check_ledger` has found that the ledger is the one that the run was started with.
            changed = [key for key in changed_keys(known["config"], resolved(self.config)) if key != "ledger.path"]
            if changed:
                before, after = _shown(known["config"], changed[0]), _shown(resolved(self.config), changed[0])
                more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
                raise ConfigError(
                    f"{self.path} holds a run of another configuration: {changed[0]} was {before}, now {after}{more}; "
                    "use another --out, or the old value"
                )
            # The hash is that of its first start, by which the ledger knows it, whatever settings came since.
            self.run_id, self.config_sha256 = str(known["run"]), str(known.get("config_sha256", self.config_sha256))
            return
        self.run_id = looks.noted_run(self.path) or secrets.token_hex(8)
        document = {
            "run": self.run_id,
            "config_sha256": self.config_sha256,
            "code_version": __version__,
            "config": resolved(self.config),
        }
        write_run_file(self.path, document)

    def note_ledger(self, section: Mapping[str, Any]) -> None:
        """Store `section` as the run's `ledger` in `run.yaml`. All else stays as it is, the hash too.

        Raises:
            ConfigError: `run.yaml` can't be read.
        """
        document = read_run_file(self.path)
        document["config"] = document["config"] | {"ledger": dict(section)}
        write_run_file(self.path, document)

    def note_card(self, section: Mapping[str, Any]) -> None:
        """Store `section` as the run's `release.card` in `run.yaml`, as `note_ledger`."""
        document = read_run_file(self.path)
        release = document["config"].get("release") or {}
        document["config"] = document["config"] | {"release": release | {"card": dict(section)}}
        write_run_file(self.path, document)

    @property
    def generations(self) -> Path:
        """The folder with a folder for each generation; inside `internal` in a run that is not private."""
        return (self.internal if why_not_private(self.config) else self.path) / "generations"

    @property
    def release(self) -> Path:
        """Where the images end up. A run that is not private, or not certified, has no release: they stay inside."""
        if stays_inside(self.config):
            return self.internal / ("not-private" if why_not_private(self.config) else "not-certified")
        return self.path / "release"

    @property
    def last_file(self) -> str:
        """What is written last into `release`: the report, or the mark where there is none."""
        if stays_inside(self.config):
            return NOT_PRIVATE if why_not_private(self.config) else NOT_CERTIFIED
        return "report.html"

    @property
    def staging(self) -> Path:
        """The release while it is being made; renamed to `release` when complete."""
        return self.release.with_name(f"{self.release.name}.partial")

    @property
    def internal(self) -> Path:
        """The folder of everything that is not differentially private; made with mode 0700 if it is not there."""
        return private_folder(self._internal)

    @property
    def training(self) -> Path:
        """What `method: dp-finetune` trains: state, charged steps, and in the end the model."""
        return self.internal / "finetune"

    @property
    def steps_charged(self) -> int:
        """How many steps of DP-SGD were ever begun; each was charged when it began."""
        log = self.training / "steps.log"
        return len(log.read_bytes().splitlines()) if log.exists() else 0

    def report_problems(self, problems: list[tuple[int, str]]) -> None:
        """Write down the records that take no part, one by one and as counts of each reason.

        Which records these are is PRIVATE, so both files are in the internal folder.

        Args:
            problems: (index of the record, fixed reason).
        """
        lines = "".join(json.dumps({"record": index, "problem": reason}) + "\n" for index, reason in problems)
        write_atomic(self.internal / "ingest.jsonl", lines, mode=0o600)
        counts = dict(Counter(reason for _, reason in problems).most_common())
        write_atomic(self.internal / "problems.json", json.dumps(counts, indent=1) + "\n", mode=0o600)

    @property
    def finished(self) -> bool:
        """Whether the release is complete: its last file is there."""
        return (self.release / self.last_file).is_file()

    def lock(self) -> None:
        """Hold the folder until the process ends or `unlock`. What a killed process left half-written goes.

        Raises:
            ConfigError: another driver holds it.
        """
        descriptor = os.open(self.internal / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt + 1 == _LOCK_ATTEMPTS:
                    os.close(descriptor)
                    raise ConfigError(f"{self.path}: another {self.command} is working in this folder") from None
                time.sleep(0.1)
        self._lock = descriptor
        remove_abandoned(self.path)

    def locked(self) -> bool:
        """Whether a driver holds the folder. A lock held on another machine may not be seen."""
        try:
            with (self._internal / LOCK_FILE).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def unlock(self) -> None:
        """Give the folder back; nothing happens if this object does not hold it."""
        if self._lock is not None:
            remove_abandoned(self.path)  # of processes that were ended with this one
            os.close(self._lock)
            self._lock = None


def _is_vacant(path: Path) -> bool:
    """Whether nothing is there but what a crash before `run.yaml` leaves: `internal`, and a hidden temporary file."""
    return path.is_dir() and all(entry.name == "internal" or entry.name[0] == "." for entry in path.iterdir())


def _shown(tree: dict[str, Any], key: str) -> str:
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    # Without credentials: earlier versions took them in a URL.
    text = repr(redacted(value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."
