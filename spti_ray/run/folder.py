"""The run folder: its identity (`run.yaml`), its generations on disk, and its lock.

DIR/run.yaml                         resolved configuration, its hash, the run's id
DIR/generations/NN/candidates.parquet   texts and embeddings, durable before any vote on them
DIR/generations/NN/renders.parquet      renders made in this generation (survivors': in an earlier one)
DIR/generations/NN/histogram-*.arrow    the committed noised histogram (written by the gate)
DIR/generations/NN/selected.parquet     survivors in rank order
DIR/release/                         the only folder meant to leave
DIR/internal/                        mode 0700; whatever is not differentially private: of a run that is not private all
                                     of it, in internal/generations and internal/not-private instead of the above; of
                                     one without a certificate in internal/finetune and internal/not-certified
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from spti_ray import __version__
from spti_ray.config import Config
from spti_ray.config.identity import as_stored, changed_keys, config_sha256, resolved, with_later_settings
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import stays_inside, why_not_private
from spti_ray.config.reading import Unreadable, parse_yaml, read_text
from spti_ray.errors import RunDamaged
from spti_ray.io.files import atomic_file, private_folder, write_atomic, write_table_atomic
from spti_ray.io.urls import redacted
from spti_ray.public.scoring import ScoreCache
from spti_ray.types import Candidate, Candidates, RenderedImage, ScoredCandidates, Selected, Space

_CANDIDATE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("generation", pa.int32()),
        ("parent_id", pa.string()),
        ("operator", pa.string()),
    ]
)
_RENDER_SCHEMA = pa.schema(
    [("candidate_id", pa.string()), ("variant", pa.int32()), ("seed", pa.int64()), ("png", pa.binary())]
)

_RENDERS_AT_A_TIME = 64

NOT_PRIVATE, NOT_CERTIFIED = "NOT-PRIVATE.txt", "NOT-CERTIFIED.txt"
"""Lie beside images that nothing protects, or that have no certificate."""

_LOCK_ATTEMPTS = 3
"""`locked` holds the lock for a moment, to see whether it is held."""


class RunDir:
    """A folder that belongs to one configuration and, while it runs, to one driver."""

    def __init__(self, path: Path, run_id: str, config: Config) -> None:
        self.path = path
        self.run_id = run_id
        self.config = config
        self.config_sha256 = config_sha256(config)
        self._lock: int | None = None

    @classmethod
    def open(cls, path: Path, config: Config) -> RunDir:
        """Create the folder, or join the run that it holds, and lock it until the process ends or `unlock`.

        Raises ConfigError if the folder holds another configuration (naming what differs) or something else, or if
        another driver works in it.
        """
        run_file = path / "run.yaml"
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

    def _identify(self, run_file: Path) -> None:
        """Take the identity of the run that is there, or give it one."""
        if run_file.exists():
            known = read_run(self.path)
            # `ledger_place.check_ledger` has found that the ledger is the one that the run was started with.
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
        self.run_id = secrets.token_hex(8)
        document = {
            "run": self.run_id,
            "config_sha256": self.config_sha256,
            "code_version": __version__,
            "config": resolved(self.config),
        }
        _write_document(self.path, document)

    def note_ledger(self, section: Mapping[str, Any]) -> None:
        """Store `section` as the run's `ledger`, and leave all else of `run.yaml` as it is, its hash too.

        Raises ConfigError as `read_run`.
        """
        document = _document(self.path)
        document["config"] = document["config"] | {"ledger": dict(section)}
        _write_document(self.path, document)

    @property
    def generations(self) -> Path:
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
        return private_folder(self.path / "internal")

    @property
    def training(self) -> Path:
        """What `method: dp-finetune` trains: state, charged steps, and in the end the model."""
        return self.internal / "finetune"

    @property
    def steps_charged(self) -> int:
        """How many steps of it were ever begun."""
        log = self.training / "steps.log"
        return len(log.read_bytes().splitlines()) if log.exists() else 0

    def report_problems(self, problems: list[tuple[int, str]]) -> None:
        """Records that take no part (index, fixed reason): PRIVATE, and so told in the internal folder only, one by one
        and how many of each reason."""
        lines = "".join(json.dumps({"record": index, "problem": reason}) + "\n" for index, reason in problems)
        write_atomic(self.internal / "ingest.jsonl", lines, mode=0o600)
        counts = dict(Counter(reason for _, reason in problems).most_common())
        write_atomic(self.internal / "problems.json", json.dumps(counts, indent=1) + "\n", mode=0o600)

    @property
    def finished(self) -> bool:
        return (self.release / self.last_file).is_file()

    def lock(self) -> None:
        """Hold the folder until the process ends. Raises ConfigError when another driver holds it."""
        descriptor = os.open(self.internal / "driver.lock", os.O_RDWR | os.O_CREAT, 0o600)
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt + 1 == _LOCK_ATTEMPTS:
                    os.close(descriptor)
                    raise ConfigError(f"{self.path}: another spti run is working in this folder") from None
                time.sleep(0.1)
        self._lock = descriptor

    def locked(self) -> bool:
        """Whether a driver holds the folder. On another machine's file system it may not show."""
        try:
            with (self.path / "internal" / "driver.lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class GenerationStore:
    """Candidates, embeddings and renders of each generation on disk; fills the score cache when it reads them."""

    def __init__(self, run: RunDir, cache: ScoreCache) -> None:
        self._run = run
        self._cache = cache
        self._on_disk: set[str] = set()

    def folder(self, generation: int) -> Path:
        return self._run.generations / f"{generation:02d}"

    def load(self, generation: int) -> Candidates | None:
        file = self.folder(generation) / "candidates.parquet"
        if not file.exists():
            return None
        table = pq.read_table(file)
        rows = table.select(_CANDIDATE_SCHEMA.names).to_pylist()
        candidates = Candidates(tuple(Candidate(**row) for row in rows))
        spaces: tuple[Space, ...] = ("image", "text")
        for space in spaces:
            if f"embedding_{space}" in table.column_names:
                matrix_KE = np.stack(table.column(f"embedding_{space}").to_numpy(zero_copy_only=False))
                for candidate, row_E in zip(candidates, matrix_KE.astype(np.float32), strict=True):
                    self._cache.rows[space][candidate.id] = row_E
        self._load_renders(generation)
        return candidates

    def save(self, generation: int, scored: ScoredCandidates) -> None:
        folder = self.folder(generation)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = [
            candidate.id
            for candidate in scored.candidates
            if candidate.id in self._cache.renders and candidate.id not in self._on_disk
        ]
        with (
            atomic_file(folder / "renders.parquet") as file,
            pq.ParquetWriter(file, _RENDER_SCHEMA, compression="zstd") as writer,
        ):
            # A few at a time: all renders of a generation may be more than memory holds.
            for first in range(0, len(fresh), _RENDERS_AT_A_TIME):
                few = [self._cache.renders[name] for name in fresh[first : first + _RENDERS_AT_A_TIME]]
                rows = [{name: getattr(render, name) for name in _RENDER_SCHEMA.names} for render in few]
                writer.write_table(pa.Table.from_pylist(rows, schema=_RENDER_SCHEMA))
        self._on_disk.update(fresh)
        table = pa.Table.from_pylist(
            [{name: getattr(candidate, name) for name in _CANDIDATE_SCHEMA.names} for candidate in scored.candidates],
            schema=_CANDIDATE_SCHEMA,
        )
        for space, matrix_KE in scored.embeddings_KE.items():
            column = pa.array(list(matrix_KE), type=pa.list_(pa.float32()))
            table = table.append_column(f"embedding_{space}", column)
        # Last: a generation counts as made when its candidates are there.
        write_table_atomic(folder / "candidates.parquet", table)

    def save_selected(self, generation: int, selected: tuple[Selected, ...]) -> None:
        table = pa.table(
            {
                "id": [item.candidate.id for item in selected],
                "count": pa.array([item.count for item in selected], pa.int64()),
                "share": pa.array([item.share for item in selected], pa.int64()),
            }
        )
        write_table_atomic(self.folder(generation) / "selected.parquet", table)

    def load_selected(self, generation: int, candidates: Candidates) -> tuple[Selected, ...]:
        """What `save_selected` wrote, of these candidates. RunDamaged if it is not there or of others."""
        file = self.folder(generation) / "selected.parquet"
        by_id = {candidate.id: candidate for candidate in candidates}
        try:
            rows = pq.read_table(file).to_pylist()
            return tuple(Selected(by_id[row["id"]], row["count"], row["share"]) for row in rows)
        except (OSError, KeyError, pa.ArrowInvalid):
            raise RunDamaged(f"{file}: is missing or damaged; restore the run's folder") from None

    def _load_renders(self, generation: int) -> None:
        file = self.folder(generation) / "renders.parquet"
        if not file.exists():
            return
        with pq.ParquetFile(file) as renders:
            for batch in renders.iter_batches(_RENDERS_AT_A_TIME):
                for row in batch.to_pylist():
                    self._cache.renders[row["candidate_id"]] = RenderedImage(**row)
                    self._on_disk.add(row["candidate_id"])


def continued(path: Path, config: Config) -> Config:
    """`config` for the run that the folder holds: settings that the build which began it did not have, and that nobody
    asked for, mean what that build did. Itself if there is no run. ConfigError as `read_run`."""
    return as_stored(config, _document(path)["config"]) if (path / "run.yaml").exists() else config


def read_run(path: Path) -> dict[str, Any]:
    """The contents of `run.yaml`; settings that the build which wrote it did not have mean what it did.

    Raises ConfigError in one line if it can't be read.
    """
    run = _document(path)
    return run | {"config": with_later_settings(run["config"])}


def _document(path: Path) -> dict[str, Any]:
    try:
        run = parse_yaml(read_text(path / "run.yaml"))
        if not isinstance(run, dict) or not isinstance(run.get("config"), dict) or "run" not in run:
            raise ConfigError(f"{path / 'run.yaml'}: not a run file; use another --out")
    except FileNotFoundError:
        raise ConfigError(f"{path}: holds no run (no run.yaml)") from None
    except (OSError, Unreadable) as error:
        why = error if isinstance(error, Unreadable) else error.strerror
        raise ConfigError(f"{path / 'run.yaml'}: {why}; restore the run's folder, or use another") from None
    return run


def _write_document(path: Path, document: Mapping[str, Any]) -> None:
    write_atomic(path / "run.yaml", yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True))


def _is_vacant(path: Path) -> bool:
    """A crash before run.yaml leaves the lock's folder and perhaps a hidden temporary file, and nothing more."""
    return path.is_dir() and all(entry.name == "internal" or entry.name[0] == "." for entry in path.iterdir())


def _shown(tree: dict[str, Any], key: str) -> str:
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    # Earlier versions took credentials in a URL.
    text = repr(redacted(value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."
