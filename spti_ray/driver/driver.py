"""A run from a configuration: what can be refused is refused here, before the ledger is touched or a model loads."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from spti_ray.config import Config
from spti_ray.config.job_paths import check_here
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import (
    is_charged,
    roles_needed,
    stays_inside,
    trains,
    uses_private_data,
)
from spti_ray.dp.mechanism import NoiseSource, OpenDPNoise
from spti_ray.driver.attempt import Attempt
from spti_ray.driver.card import take_up_card
from spti_ray.driver.hosted import check_models_here, cluster_of, is_all_here, watched
from spti_ray.driver.process import logged_to, stopped_by_sigterm
from spti_ray.finetuning.public_interface import require_trainer
from spti_ray.io.files import is_url
from spti_ray.observability.journal import Journal
from spti_ray.observability.progress import Progress
from spti_ray.planning.checks import check_build, check_engines, check_gpus, check_new, check_prompts
from spti_ray.planning.plan import noise_plan, sgd_plan
from spti_ray.private.source import describe
from spti_ray.provenance.c2pa_manifests import check_credentials
from spti_ray.provenance.credentials import Sign, credentials_of
from spti_ray.runs.continuation import Origin
from spti_ray.runs.folder import RunDir
from spti_ray.runs.ledger_check import check_ledger, keep_ledger
from spti_ray.runs.output_places import check_folder, check_writable
from spti_ray.runs.run_file import continued


def run_config(
    config: Config,
    out: Path,
    console: Console | None = None,
    noise: NoiseSource | None = None,
    unattended: bool = False,
    journal: Journal | None = None,
    sign: Sign | None = None,
) -> Path:
    """Run `config` in the folder `out`, or go on with the run it holds; return the release folder.

    On a cluster that is joined the driver is an actor there, which is watched (`hosted`). `journal` is that of the
    actor itself: what is shown goes there.
    `noise` replaces OpenDP's sampler in tests; anything but a private source marks the run as not private.
    `sign` makes the signatures of `release.provenance.certificate` in this process, in place of a key.
    `unattended`: who starts this starts it again after any failure; a refusal of the last hour stands (`Refusal`).

    Raises: ConfigError, DataError (exit code 2), BudgetRefused and LedgerElsewhere (3), ResourcesNeverArrived and
    RayUnavailable (4), EndedElsewhere (any of them, in the driver's actor), and the errors of `spti_ray.errors`.
    """
    console = console or Console(file=sys.stdout)
    if journal is None:
        check_here(config, out)
        if noise is None and not (out / "release").is_dir() and (address := cluster_of(config)):
            if sign is not None:
                raise ConfigError(
                    "sign: signs in this process, and the driver would be on the cluster; leave runtime.address out"
                )
            return watched(config, out, address, console, unattended)
    check_folder("--out", out, of_run=True)
    if not (out / "run.yaml").exists():
        check_new(config)
        check_prompts(config)
    config = continued(out, config)
    # Then only its card may change, long after private images, packages and the runs before it are gone.
    is_finished = (out / "run.yaml").exists() and RunDir(out, "", config).finished
    check_engines(config)
    if is_all_here(config) and not is_finished:
        check_build(config)
    if not (out / "release").is_dir():
        check_gpus(config, roles_needed(config))
        check_models_here(config, roles_needed(config))
    if is_charged(config):
        noise_plan(config)
    if trains(config):
        require_trainer()
        sgd_plan(config)
    credentials = None
    if not (stays_inside(config) or (out / "release").is_dir()):
        credentials = credentials_of(config.release.provenance, sign)
        if credentials is not None:
            check_credentials(credentials)
    source = None
    if uses_private_data(config) and not is_finished:
        source = describe(config.data, config.privacy.unit, config.evolution.label_names)
    origin = Origin.of(config.origin) if config.origin and not is_finished else None
    if origin and not (out / "run.yaml").exists():
        origin.entries()  # a ledger that is not here leaves no folder behind
    check_ledger(config, out)
    if uses_private_data(config) and not is_finished and not is_url(config.ledger.location):
        check_writable("ledger.path", Path(config.ledger.location))
    progress = journal or Progress(console)
    run = RunDir.open(out, config)
    try:
        keep_ledger(config, run)
        if take_up_card(config, run):
            files = (
                "datasheet.md, croissant.json and report.html" if run.finished else "datasheet.md and croissant.json"
            )
            progress.note(
                f"{out}: {files} now have the release.card of this configuration; "
                "images, votes and budget are as they were. An export has the card of when it was made: export again"
            )
        if is_finished or run.finished:
            progress.note(f"{out} is finished: {run.release}. Nothing to do.")
            return run.release
        with logged_to(run.internal / "driver.log", run.run_id), stopped_by_sigterm():
            return Attempt(config, run, source, origin, progress, noise or OpenDPNoise(), unattended, credentials).go()
    finally:
        run.unlock()
