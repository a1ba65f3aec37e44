"""`spti measure`: private records answer one question about a release, through the gate.

The question is a public probe. It is stored, then charged, then each unit fills one cell of it, and noise is added
once: the protocol of a generation's votes. What can fail on the private side fails before the charge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from spti_ray import __version__
from spti_ray.config import Config, Role
from spti_ray.config.job_paths import check_here
from spti_ray.config.loading import ConfigError
from spti_ray.config.measure import Coverage, Task, load_task
from spti_ray.dp.budget import BudgetRefused
from spti_ray.dp.certificate import certificate
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.gate import Gate
from spti_ray.dp.history import attempts_of
from spti_ray.dp.lease import SlotsExhausted
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import NoiseSource, OpenDPNoise
from spti_ray.driver.executors import executor_of
from spti_ray.driver.gates import gate_of
from spti_ray.driver.hosted import check_models_here
from spti_ray.driver.private_views import voting_shards
from spti_ray.driver.process import logged_to, stopped_by_sigterm
from spti_ray.errors import NothingMade, RunDamaged
from spti_ray.io.files import sha256_of, write_atomic
from spti_ray.models.bundled import ModelNotFound
from spti_ray.models.factory import engines_config
from spti_ray.observability.progress import Progress
from spti_ray.observability.trace import Trace
from spti_ray.planning.checks import check_engines, check_gpus
from spti_ray.planning.plan import noise_plan
from spti_ray.private.source import Source, describe
from spti_ray.probe import Probe
from spti_ray.public.figure import figure
from spti_ray.public.probes import checkpoint_probe, coverage_probe, label_probe
from spti_ray.public.release import CERTIFICATE, MANIFEST
from spti_ray.public.released_files import read_manifest
from spti_ray.runs.ledger_check import check_ledger
from spti_ray.runs.measures import (
    FIGURE_FILE,
    MeasureDir,
    MeasuredRun,
    figure_section,
    load_probe,
    name_of,
    save_probe,
)
from spti_ray.runtime.executor import Session
from spti_ray.runtime.pools import Observers, Pools
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.result_cache import ResultCache
from spti_ray.runtime.voter import ShardVoter
from spti_ray.types import FloatArray, NoisyHistogram

_ROLES: tuple[Role, ...] = ("image_embedder",)
"""The engines that a measurement needs."""


def in_words_of_a_task(line: str) -> str:
    """A line about a run's settings, as one about a task, whose epsilon is a setting of its own."""
    return line.replace("privacy.epsilon", "epsilon")


class Measurement:
    """One measurement of a finished run, which `ask` makes, or goes on with."""

    def __init__(self, directory: Path, task_file: Path, name: str | None = None) -> None:
        """Check all that can be checked without the private images, the ledger and the engines.

        Args:
            directory: the run's folder.
            task_file: the task, in YAML.
            name: of the measurement; None for one made of the file's name.

        Raises:
            ConfigError: one line.
        """
        self.task: Task = load_task(task_file)
        self.measured = MeasuredRun(directory)
        self.config: Config = self.measured.settings(self.task)
        checkpoint = getattr(self.task, "checkpoint", None)
        if checkpoint is not None and not Path(checkpoint.path).is_file():
            raise ConfigError(f"{task_file}: checkpoint.path: there is no file {checkpoint.path}")
        self.folder = MeasureDir(self.measured, name_of(task_file) if name is None else name, self.task, self.config)
        check_engines(self.config)
        try:
            self.plan = noise_plan(self.config)
        except ConfigError as error:
            raise ConfigError(in_words_of_a_task(str(error))) from None
        self.ledger = Ledger(self.config.ledger.location, self.config.dataset.id)

    def check_ledger(self) -> None:
        """Raise LedgerElsewhere, or ConfigError, if the ledger is not that of the measured run."""
        check_ledger(self.measured.config, self.measured.folder)
        if not attempts_of(self.ledger.entries(), self.measured.certified_run):
            raise ConfigError(
                f"{self.ledger.location} does not know run {self.measured.certified_run}; "
                f"{self.config.ledger.if_missing}"
            )

    def ask(self, console: Console, noise: NoiseSource | None = None) -> dict[str, Any]:
        """Charge the question and have it answered once; on a finished one nothing is done.

        Args:
            console: where to show stages. Nothing that depends on a record is shown.
            noise: replaces OpenDP's sampler in tests.

        Returns:
            The answer, which is in the measurement's folder.

        Raises:
            ConfigError, DataError, ModelNotFound, BudgetRefused, LedgerElsewhere, NothingMade, RunDamaged: nothing was
                charged. What was refused before the ledger knew of it leaves no file but its lock, which is internal.
            SlotsExhausted: an earlier start was charged and lost its answer; nothing more was charged.
            ShardFailed, ArtifactError, GateError: as of a run. A charge that was made stays.
        """
        config, folder = self.config, self.folder
        if self.finished:
            return folder.read_figure()
        check_here(config, self.measured.folder)
        self.check_models()
        source = describe(config.data, config.privacy.unit, config.evolution.label_names)
        self.check_ledger()
        check_gpus(config, _ROLES)
        executor_of(config).check(config)
        folder.lock()
        try:
            folder.identify(self.ledger.entries())  # refuses what is not this measurement's, which is never removed
            try:
                with logged_to(folder.internal / "driver.log", folder.run_id), stopped_by_sigterm():
                    return self._answered(source, console, noise or OpenDPNoise())
            except BaseException:
                if not self._is_in_ledger():
                    folder.remove()
                raise
        finally:
            folder.unlock()

    @property
    def finished(self) -> bool:
        """Whether this very question was answered already. Raises ConfigError: the folder can't be read."""
        return self.folder.finished and self.folder.is_of_this_task()

    def check_models(self) -> None:
        """Raise ModelNotFound if the embedder can't be had here, in the words of who named it: the task, or the run."""
        try:
            check_models_here(self.config, _ROLES)
        except ModelNotFound as error:
            setting = "runtime.engines.image_embedder" if self.task.embedder is None else "embedder"
            raise ModelNotFound(str(error).replace("runtime.engines.image_embedder", setting)) from None

    def _is_in_ledger(self) -> bool:
        """Whether the ledger knows what the folder holds; to be safe also if the ledger can't be read."""
        try:
            return bool(attempts_of(self.ledger.entries(), self.folder.known_run()))
        except (ConfigError, LedgerError, OSError):
            return True

    def _answered(self, source: Source, console: Console, noise: NoiseSource) -> dict[str, Any]:
        gate = gate_of(self.config, self.folder, self.ledger, noise)
        assert isinstance(gate, Gate)
        try:
            gate.open()
        except BudgetRefused as error:
            raise BudgetRefused(in_words_of_a_task(str(error))) from None
        if gate.note:
            console.print(gate.note, highlight=False, soft_wrap=True)
        histogram = gate.committed(0)
        if histogram is None and gate.slots_left() == 0:
            raise SlotsExhausted(
                f"{self.folder.path}: its charge was made and its answer was lost with the process that asked; it is "
                "never asked again for that charge. Another --name asks anew, and is charged anew"
            )
        if histogram is None:
            histogram = self._measured(gate, source, console)
        return self._write(histogram)

    def _measured(self, gate: Gate, source: Source, console: Console) -> NoisyHistogram:
        """Start engines and shards, make the probe, charge it, and have it answered."""
        config, folder, executor = self.config, self.folder, executor_of(self.config)
        engines, attempt = engines_config(config.runtime.engines), gate.odometer_reading().attempts
        with Progress(console, 1) as progress:
            progress.stage(f"starting {executor.name}")
            with executor.open(config, engines, folder.run_id, attempt, config.privacy.epsilon, _ROLES) as session:
                progress.stage("loading models")
                actors = session.start_engines(engines)
                models = session.identities(lambda role: progress.stage(f"loading the {role}"))
                shards = voting_shards(config, folder.internal, source, models)
                voter = session.start_shards(shards, folder.report_problems)
                progress.stage("embedding the release")
                probe = self._probe(lambda: self._embedded(session, actors, voter, progress), models)
                progress.stage("reading the private images")
                voter.ready()
                progress.stage("answers")
                reservation = gate.reserve(0, probe.sha256(), probe.cells)
                progress.spent(*gate.release_epsilon())
                return gate.measure(reservation, voter.answer(reservation.query, probe), voter.num_shards)

    def _embedded(self, session: Session, actors: Any, voter: ShardVoter, progress: Progress) -> FloatArray:
        """The released images' embeddings [N, E], in the manifest's order.

        Raises:
            NothingMade: one of them could not be embedded.
            RunDamaged: one of them is not what the manifest says.
        """
        engines, rows = engines_config(self.config.runtime.engines), self._manifest().select(["file", "sha256"])
        cache = ResultCache(self.folder.internal / "units", f"{__version__} {self.folder.config_sha256}")
        try:
            pools = Pools(self.config, engines, session, cache, Observers(Trace(), progress, session.metrics))
            made: dict[Role, Pool] = {
                role: pools.make(role, actors[role], lambda: voter.num_preparing) for role in _ROLES
            }
            images = (self._image(**row) for row in rows.to_pylist())
            embedded = list(PooledEngines(made, engines).embed_images(images))
        finally:
            cache.remove()
        missing = sum(row_E is None or not np.isfinite(row_E).all() for row_E in embedded)
        if missing:
            raise NothingMade(
                f"embedder: {missing} of the {len(embedded)} released images could not be embedded, so nothing was "
                f"charged; see {self.folder.internal / 'driver.log'}"
            )
        return np.stack([row_E for row_E in embedded if row_E is not None])

    def _image(self, file: str, sha256: str) -> bytes:
        """A released image. Raises RunDamaged if it is not what the manifest says."""
        path = self.measured.release / file
        png = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(png).hexdigest() != sha256:
            raise RunDamaged(f"{path}: is missing or not what the manifest says; restore the run's release")
        return png

    def _probe(self, embedded: Callable[[], FloatArray], models: dict[str, Any]) -> Probe:
        """The probe of an earlier attempt, or a new one, which is durable when this returns."""
        found = load_probe(self.folder.path)
        if found is not None and found[1].get("embedder") == models["image_embedder"]:
            return found[0]
        features_NE, task, labels = embedded(), self.task, self.config.evolution.label_names
        if isinstance(task, Coverage):
            probe, made = coverage_probe(features_NE, labels, task.by_class, task.radius, task.radius_quantile)
        elif task.checkpoint:
            classes, width = task.checkpoint.classes, features_NE.shape[1]
            probe, made = checkpoint_probe(Path(task.checkpoint.path), classes, width, labels, task.by_class)
        else:
            own = self._manifest()["label"].to_pylist()
            probe, made = label_probe(features_NE, own, labels, task.by_class, task.ridge)
        made |= {
            "embedder": models["image_embedder"],
            "embedder_voted": self.measured.voted_by(engines_config(self.config.runtime.engines).image_embedder),
            "manifest_sha256": sha256_of(self.measured.release / MANIFEST),
        }
        save_probe(self.folder.path, probe, made)
        return probe

    def _manifest(self) -> Any:
        return read_manifest(self.measured.release)

    def _write(self, histogram: NoisyHistogram) -> dict[str, Any]:
        """Write the answer, and a certificate that names it by its hash."""
        found = load_probe(self.folder.path)
        if found is None or found[0].sha256() != histogram.candidates_sha256:
            raise RunDamaged(f"{self.folder.path}: its probe is not the one that was answered; restore it")
        facts = found[1] | {"run": self.folder.run_id, "of": self.measured.certified_run}
        answer = figure(self.task, histogram, self.config.privacy.unit, facts)
        text = json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        document = certificate(self.ledger.entries(), self.folder.run_id)
        if document is not None:
            document |= {"release": figure_section(text.encode())}
            proof = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
            write_atomic(self.folder.path / CERTIFICATE, proof + "\n")
        write_atomic(self.folder.path / FIGURE_FILE, text)  # last: with it the measurement is finished
        return answer
