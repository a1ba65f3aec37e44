"""One attempt at a run: the budget is asked, engines and shards start, the method makes images, the release is written.

What can fail on the private side fails before a charge. The driver's process is the only one that opens the ledger.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from spti_ray import __version__
from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.config.method_traits import (
    filter_roles,
    has_shards,
    is_charged,
    roles_needed,
    shards_caption,
    stays_inside,
    trains,
    uses_private_data,
    why_not_certified,
    why_not_private,
)
from spti_ray.dp.certificate import certificate
from spti_ray.dp.entries import Entry
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import NoiseSource
from spti_ray.dp.odometer import OdometerReading
from spti_ray.driver.console_summary import closing_lines, opening_lines
from spti_ray.driver.executors import executor_of
from spti_ray.driver.gates import gate_of
from spti_ray.driver.marks import marks_of
from spti_ray.driver.private_views import at_workers, voting_shards
from spti_ray.driver.studio import Stage, make
from spti_ray.driver.unreleased import write_unreleased
from spti_ray.models.factory import engines_config
from spti_ray.observability.memory import MemorySampler
from spti_ray.observability.progress import Progress
from spti_ray.observability.reading import progress_file, written_down
from spti_ray.observability.timeline import write_timeline
from spti_ray.observability.timings import write_timings
from spti_ray.observability.trace import Trace
from spti_ray.planning.steps_ahead import StepsAhead
from spti_ray.private.source import Source, fingerprint
from spti_ray.provenance.credentials import Credentials
from spti_ray.provenance.marks import Marks
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.filtered import Filtered
from spti_ray.public.rejections import REJECTIONS, Rejections
from spti_ray.public.release import Models, write_release
from spti_ray.release.report.build import build_report
from spti_ray.runs.continuation import Origin
from spti_ray.runs.folder import RunDir
from spti_ray.runs.looks import record_looks
from spti_ray.runs.refusal import Refusal
from spti_ray.runtime.executor import CaptionShards, RunMetrics, Session, VotingShards
from spti_ray.runtime.pools import Observers, Pools, give_back_once_prepared
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.result_cache import ResultCache

log = logging.getLogger(__name__)


class Attempt:
    """One attempt at a run, whose folder is locked."""

    def __init__(
        self,
        config: Config,
        run: RunDir,
        source: Source | None,
        origin: Origin | None,
        progress: Progress,
        noise: NoiseSource,
        unattended: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        """`progress` is told how far it is. `unattended`: see `run_config`. `credentials`: who signs the images."""
        self._credentials = credentials
        self._config = config
        self._unattended = unattended
        self._run = run
        self._source = source
        self._origin = origin
        self._trace = Trace()
        self._written = FallbackCounts()
        self._label_counts: dict[str, int] = {}
        self._ledger = Ledger(config.ledger.location, config.dataset.id)
        self._gate = gate_of(config, run, self._ledger, noise)
        self._attempt = 1
        self._progress = progress
        progress.generations(config.generation_numbers.stop)
        self._executor = executor_of(config)
        self._generations_to_come = 0
        self._steps_ahead = StepsAhead(config)

    def go(self) -> Path:
        config, run = self._config, self._run
        if not run.release.is_dir():
            self._executor.check(config)
        # The budget is asked first: a run that can't be paid for must not start a cluster.
        if self._origin:
            # A ledger that is not here is told now, and not after everything was made.
            self._origin.certificate()
        if uses_private_data(config):
            dataset = config.dataset
            # The run that this one goes on from has registered it, if anybody has.
            must_exist = dataset.registration == "required" or self._origin is not None
            self._ledger.register(dataset.lifetime_epsilon, config.privacy.delta, must_exist=must_exist)
            self._ledger.hold_out(config.data.holdout, config.unit_in_words)
            record_looks(run.path, run.run_id, self._ledger)
        if self._gate is not None:
            self._gate.open()
        elif stays_inside(config):
            self._ledger.record_unprotected_run(
                run.run_id, why_not_certified(config) or f"NOT PRIVATE: {why_not_private(config)}"
            )
        if isinstance(self._gate, Gate):
            self._attempt = self._gate.odometer_reading().attempts
        warning = self._source.warning if self._source else ""
        for line in opening_lines(config, run, self._gate, self._ledger.location, self._attempt, warning):
            self._progress.note(line)
        if not run.release.is_dir():
            if self._executor.note:
                self._progress.note(self._executor.note)
                log.info("%s", self._executor.note)
            refusal = Refusal(run.internal, config, lambda: fingerprint(self._source) if self._source else "")
            if self._unattended:
                refusal.check()
            self._cache = ResultCache(run.internal / "units", f"{__version__} {run.config_sha256}")
            try:
                kept = written_down(self._progress.reading, progress_file(run.path))
                with refusal.kept(), MemorySampler(self._trace.memory), self._progress, kept:
                    self._on_executor()
            finally:
                self._cache.close()
            extra = {"attempt": self._attempt, "texts": self._written.document()}
            self._trace.in_all(*self._cache.total_cost())
            write_timings(self._trace, run.internal / "timings.json", extra)
            self._cache.remove()
            run.staging.rename(run.release)
        if not stays_inside(config):
            # Last: a run counts as finished when its report is there.
            build_report(run.path)
        for line in closing_lines(config, run, self._gate, self._trace, self._written):
            self._progress.note(line)
        return run.release

    def _on_executor(self) -> None:
        """All that needs engines: from their start to the images of the release."""
        config, executor, name = self._config, self._executor, self._executor.name
        engines, epsilon = engines_config(config.runtime.engines), config.privacy.epsilon if self._gate else 0.0
        self._progress.stage(f"starting {name}")
        with self._trace.timed(f"start {name}"):
            opened = executor.open(config, engines, self._run.run_id, self._attempt, epsilon, roles_needed(config))
            session = opened.__enter__()
        try:
            self._metrics: RunMetrics = session.metrics
            if isinstance(self._gate, Gate):
                self._metrics.spent(self._gate.odometer_reading().epsilon)
            if trains(config):
                engines = self._trained(session, engines)
            self._with_engines(session, engines)
        finally:
            self._note_starts(session)
            self._cache.settle()  # What waits to be kept may still lie with the engines.
            self._trace.end_stage()
            with self._trace.timed(f"stop {name}"):
                opened.__exit__(*sys.exc_info())
            write_timeline(self._trace, self._run.internal / "timeline.json")

    def _note_starts(self, session: Session) -> None:
        """Put on the timeline how engines started, once: at the end, or before the first of them are given back."""
        if self._trace.starts:
            return
        with suppress(Exception):  # what ends a run is told, and not that its engines did not answer then
            for role, marks in session.start_marks():
                self._trace.start(role, marks)

    def _trained(self, session: Session, engines: EnginesConfig) -> EnginesConfig:
        """The engines after the training of the method."""
        run, plan = self._run, self._config.finetune
        paid = plan.steps + plan.spare_steps

        def show() -> None:
            self._progress.stage(f"fine-tuning, {run.steps_charged} of {paid} paid steps begun")

        self._progress.stage("fine-tuning")
        with self._trace.timed("fine-tuning"):
            assert self._source is not None
            return session.train(at_workers(self._config, self._source), run, engines, show)

    def _with_engines(self, session: Session, engines: EnginesConfig) -> None:
        config, run = self._config, self._run
        self._progress.stage("loading models")
        with self._trace.timed("load models"):
            actors = session.start_engines(engines)
            models = session.identities(lambda role: self._progress.stage(f"loading the {role}"))
        voter = session.start_shards(self._shards(models), run.report_problems)
        observers = Observers(self._trace, self._progress, self._metrics)
        made = Pools(config, engines, session, self._cache, observers, lambda: self._generations_to_come)
        pools: dict[Role, Pool] = {
            role: made.make(role, actors[role], (lambda: voter.num_preparing) if role in session.serving else lambda: 0)
            for role in actors
        }

        if "captioner" in pools:
            give_back_once_prepared("captioner", pools["captioner"], session, voter)

        def keep_only(*roles: Role) -> None:
            """A GPU that writes or embeds may render from here on."""
            self._note_starts(session)
            for role in ("shard", *(role for role in pools if role not in roles)):
                if role in pools:
                    pools[role].shrink()
                session.give_back(role)

        def render_only() -> Models:
            nonlocal models
            self._trace.stage("release")
            self._progress.stage("rendering the release")
            # Those that serve shards said it when they started, and may be gone.
            models = {role: models.get(role) or pools[role].identity() for role in roles_needed(config)}
            keep_only("renderer", *filter_roles(config))
            self._cache.begin(config.generation_numbers.stop)
            return models

        streams = PooledEngines(pools, engines)
        run.staging.mkdir(parents=True, exist_ok=True)
        if config.rerenders:
            self._progress.expect(config.release.images)
        origin, told = self._origin, (self._written, self._label_counts)
        steps = (self, keep_only, render_only, self._marks_of)
        items = make(Stage(config, run, streams, self._gate, voter, *steps, origin, *told))
        filtered = Filtered.of(config, items, Rejections(run.internal / REJECTIONS)) if items else None
        with self._trace.timed("release"):
            if stays_inside(config):
                write_unreleased(run.staging, config, items, models, self._marks_of(models), filtered)
            else:
                proof, marks = self._certificate(), self._marks_of(models)
                if marks.signer:
                    self._progress.stage("signing the images")
                if self._origin and config.rerenders:
                    # The texts are still those of its writer.
                    models = {**self._origin.models, **models}
                write_release(run.staging, config, items or [], models, proof, *told, filtered, marks)
        for line in filtered.lines() if filtered else ():
            self._progress.note(line)
        log.info("batches of an earlier attempt: %d", self._cache.found)
        for role, pool in pools.items():
            if pool.given_up:
                self._progress.note(
                    f"{role}: {pool.given_up} batch(es) failed for good; see {run.internal / 'driver.log'}"
                )

    def _certificate(self) -> dict[str, Any] | None:
        """As of now: this run's, or of a re-rendering that of the run whose texts it renders; None if there is none."""
        if self._origin and self._config.rerenders:
            return self._origin.certificate()
        return certificate(self._ledger.entries(), self._run.run_id) if is_charged(self._config) else None

    def _marks_of(self, models: Models) -> Marks:
        """What the images say and who signs them."""
        config, origin, entries = self._config, self._origin, list[Entry]()
        if origin and config.rerenders:
            entries, models = origin.entries() or [], {**origin.models, **models}
        elif is_charged(config):
            entries = self._ledger.entries()
        return marks_of(config, self._run.run_id, entries, self._certificate(), models, self._credentials)

    def _shards(self, models: dict[str, Any]) -> VotingShards | CaptionShards | None:
        """The shards of the method: those that vote, those that have captions rendered, or none."""
        run, source = self._run, self._source
        if source is None or not has_shards(self._config):
            return None
        if shards_caption(self._config):
            self._progress.stage("captioning and rendering")
            return CaptionShards(at_workers(self._config, source), str((run.staging / "images").resolve()))
        return voting_shards(self._config, run.internal, source, models)

    def generation(self, number: int, stage: str) -> None:
        """Watcher of the evolution loop."""
        if stage == "candidates":
            self._cache.begin(number)
            self._progress.expect(self._steps_ahead.begin(number, self._progress.done))
        self._generations_to_come = self._config.generation_numbers.stop - 1 - number
        self._progress.stage(stage, number)
        self._metrics.generation(number)
        self._trace.stage(stage, number)

    def asked_again(self, count: int) -> None:
        """Watcher of the evolution loop."""
        self._progress.expect(self._steps_ahead.again(count))

    def charged(self, reading: OdometerReading | None) -> None:
        """Watcher of the evolution loop: the odometer, where there is one."""
        if reading is not None:
            assert isinstance(self._gate, Gate)
            self._progress.spent(*self._gate.release_epsilon())
            self._metrics.spent(reading.epsilon)
