"""`spti check`: the shards of the run to come read its records, make its views, and write down what they saw.

No charge, no vote. It is a look at the private images: noted before anything is read, and told to the ledger.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from spti_ray.check.summary import summarise
from spti_ray.config import Config, Role, ShardConfig
from spti_ray.config.job_paths import check_here
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import roles_needed, shards_vote
from spti_ray.dp.history import CHECKED
from spti_ray.dp.holdout import fix_holdout
from spti_ray.dp.ledger import Ledger
from spti_ray.driver.executors import executor_of
from spti_ray.driver.hosted import check_models_here
from spti_ray.driver.private_views import voting_shards
from spti_ray.driver.process import logged_to, stopped_by_sigterm
from spti_ray.internal_pages import data_uri, write_page
from spti_ray.io.files import private_folder
from spti_ray.models.factory import engines_config
from spti_ray.observability.progress import Progress
from spti_ray.planning.checks import check_engines, check_gpus, check_new, engines_outside
from spti_ray.private.kinds import NoRecordCanVote
from spti_ray.private.source import Source, describe
from spti_ray.private.survey import read_survey
from spti_ray.runs.folder import RunDir
from spti_ray.runs.ledger_check import check_ledger
from spti_ray.runs.looks import note_look, record_looks
from spti_ray.runs.output_places import check_folder
from spti_ray.runs.run_file import RUN_FILE, continued
from spti_ray.runtime.voter import ShardFailed

_NO_SHARD_ASKS: tuple[Role, ...] = ("writer", "renderer")
"""Roles whose engines are not needed here: they make candidates."""


def check_images(config: Config, out: Path, console: Console) -> Path:
    """Read every private record once and write `out`/internal/check.html, for the owner alone.

    Args:
        config: the configuration, of which nothing is fixed for the run in `out`.
        out: the folder of the run, which need not exist. The views that are made are those of a later run there.
        console: where to show stages. Nothing that depends on a record is shown.

    Returns:
        The page.

    Raises:
        ConfigError, DataError, LedgerError: as for a run, before anything is read.
        ShardFailed: reading or embedding failed. The page shows what was read before that.
        The errors of the executor.
    """
    check_here(config, out)
    if not shards_vote(config):
        raise ConfigError(
            f"method {config.method}: no private image votes by it, and spti check makes what votes need; use "
            "--set method=spti"
        )
    check_folder("--out", out, of_run=True)
    begun = (out / RUN_FILE).exists()
    if not begun:
        check_new(config)
    config = continued(out, config)
    check_engines(config)
    check_gpus(_without_gpus_of_shards(config), _roles(config))
    check_models_here(config, _roles(config))
    with Progress(console) as progress:
        progress.stage("listing the private images")
        source = describe(config.data, config.privacy.unit, config.evolution.label_names)
        check_ledger(config, out)
        executor_of(config).check(_without_gpus_of_shards(config))
        run = RunDir.open(out, config) if begun else RunDir.before_run(out, config)
        try:
            with logged_to(run.internal / "driver.log", run.run_id), stopped_by_sigterm():
                progress.note(_record(config, run))
                return _look(config, run, source, progress)
        finally:
            run.unlock()


def _record(config: Config, run: RunDir) -> str:
    """Note the look and, where the dataset is registered, record it; one line that says which of both."""
    ledger, dataset = Ledger(config.ledger.location, config.dataset.id), config.dataset
    registered = bool(ledger.entries())
    if registered or dataset.registration == "required":
        ledger.register(dataset.lifetime_epsilon, config.privacy.delta, must_exist=True)
        # Nothing is fixed by a look: only what runs have fixed is checked.
        fix_holdout(ledger.entries(), dataset.id, config.data.holdout, config.unit_in_words)
    look = f"{CHECKED}{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    note_look(run.path, run.run_id, "; sent to ".join([look, *engines_outside(config)]))
    if not registered:
        return f"noted as a look at the private images; the run in {run.path} records it when it registers the dataset"
    record_looks(run.path, run.run_id, ledger)
    return f"recorded as a look at the private images in {ledger.location}"


def _look(config: Config, run: RunDir, source: Source, progress: Progress) -> Path:
    survey, page, stopped = run.internal / "survey", run.internal / "check.html", ""
    shutil.rmtree(survey, ignore_errors=True)
    private_folder(survey)
    try:
        try:
            _survey(config, run, source, progress, survey)
        except NoRecordCanVote:
            pass  # the page says why
        except ShardFailed as error:
            stopped = str(error)
        progress.stage("writing the page")
        _write(page, config, survey, stopped)
    finally:
        shutil.rmtree(survey, ignore_errors=True)
    if stopped:
        raise ShardFailed(f"{stopped}; what was read before that is in {page}")
    return page


def _survey(config: Config, run: RunDir, source: Source, progress: Progress, survey: Path) -> None:
    """Start the engines that see private images, and the shards; wait until each has read its records."""
    config = _without_gpus_of_shards(config)
    engines, executor = engines_config(config.runtime.engines), executor_of(config)
    roles = _roles(config)
    progress.stage(f"starting {executor.name}")
    with executor.open(config, engines, run.run_id, 0, 0.0, roles) as session:
        progress.stage("loading models")
        session.start_engines(engines)
        models = session.identities(lambda role: progress.stage(f"loading the {role}"))
        progress.stage("reading the private images")
        shards = voting_shards(config, run.internal, source, models, str(survey.resolve()))
        voter, count = session.start_shards(shards, run.report_problems), config.runtime.shards

        def how_far() -> str:  # in shards, whose number is public: that of records is not
            return f"{count - voter.num_preparing} of {count} shards are done"

        with progress.telling(how_far):
            voter.ready()


def _roles(config: Config) -> tuple[Role, ...]:
    return tuple(role for role in roles_needed(config) if role not in _NO_SHARD_ASKS)


def _without_gpus_of_shards(config: Config) -> Config:
    """Shards that do not vote have no use for one."""
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"shard": ShardConfig()})})


def _write(page: Path, config: Config, survey: Path, stopped: str) -> None:
    found = [record for file in sorted(survey.glob("*.parquet")) for record in read_survey(file)]
    grouped = config.privacy.unit == "group"
    write_page(
        page,
        "check.html.j2",
        summary=summarise(found, config.evolution.label_names, grouped),
        last=found[-1].name if found else "",
        stopped=stopped,
        data=config.data.path,
        window=config.data.window,
        grouped=grouped,
        has_labels=len(config.evolution.label_names) > 1,
        data_uri=data_uri,
    )
