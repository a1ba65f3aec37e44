"""The actor that fine-tunes the renderer's model (`method: dp-finetune`), in a renderer's place before engines start.

It alone reads the private images. Its process is silent and its exceptions are content-free, as a shard's; the model
stays in the run's internal folder, and nothing comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from spti_ray.config import Config, EnginesConfig
from spti_ray.config.loading import ConfigError
from spti_ray.finetuning.public_side import (
    FINISHED,
    FinetuneFailed,
    FolderBusy,
    UnfitPipeline,
    require_trainer,
    trained_engine,
)
from spti_ray.io.files import DiskFull
from spti_ray.models.home import settle
from spti_ray.private.output_suppression import silence
from spti_ray.private.safe_errors import ShardError, content_free
from spti_ray.private.source import DataError
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.ray.cluster import Reserved
from spti_ray.runtime.ray.events import creation_failure
from spti_ray.runtime.ray.launch import options_in_place_of
from spti_ray.runtime.ray.shard_actor import pause_s

_LOOK_EVERY_S = 10.0
_FOLDER_BUSY_S = 60.0
"""For how long the process of an attempt that was killed may take to end."""

_PUBLIC = (ConfigError, FinetuneFailed, UnfitPipeline, DiskFull)
"""Errors of a training whose text shows nothing private."""


@ray.remote
class TrainerActor:
    """Trains on all records, which are one shard. What a restart loses since the last saved state is trained again."""

    shard_id = 0

    @content_free("starting")
    def __init__(self) -> None:
        settle()
        silence()

    @content_free("fine-tuning", also=_PUBLIC)
    def train(self, config: Config, run: str, run_id: str) -> None:
        """Leave the model in the folder `training` of the run, or go on with it there. See `finetune`."""
        require_trainer()
        from spti_ray.finetuning.dp_finetune import finetune_run

        folder = RunDir(Path(run), run_id, config)
        deadline = time.monotonic() + _FOLDER_BUSY_S
        while True:
            try:
                finetune_run(config, folder.training, folder.report_problems)
                return
            except FolderBusy:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(1)


def fine_tune(
    config: Config,
    run: RunDir,
    reserved: Reserved,
    bundles: tuple[Bundle, ...],
    engines: EnginesConfig,
    on_look: Callable[[], None],
) -> EnginesConfig:
    """Train, or go on, and return the engines with the trained renderer. `on_look` is called every few seconds.

    `config` names the data as workers find them.

    Raises:
        FinetuneFailed, UnfitPipeline, DataError, ConfigError, DiskFull: one line that shows nothing private.
    """
    if not (run.training / FINISHED).exists():
        trainer: Any = TrainerActor.options(**options_in_place_of("renderer", reserved, bundles, engines)).remote()
        try:
            _trained(trainer, config, run, on_look)
        finally:
            # What it held is the renderer's from now on.
            ray.kill(trainer)
    return engines.model_copy(update={"renderer": trained_engine(engines.renderer, run.training.resolve())})


def _trained(trainer: Any, config: Config, run: RunDir, on_look: Callable[[], None]) -> None:
    """Wait for the end of the training; a trainer that is lost goes on from the saved state when it is back."""
    losses = 0
    while True:
        reference = trainer.train.remote(config, str(run.path.resolve()), run.run_id)
        while not ray.wait([reference], timeout=_LOOK_EVERY_S)[0]:
            on_look()
        try:
            ray.get(reference)
            return
        except RayTaskError as error:
            raise _told(error.cause) from None
        except RayActorError as error:
            losses += 1
            reason = creation_failure(error) if isinstance(error, ActorDiedError) else ""
            if reason:
                raise FinetuneFailed(f"the trainer could not be started: {reason}") from None
            if losses > config.runtime.unit_crashes:
                raise FinetuneFailed(
                    "the trainer died again and again; if memory is short, lower finetune.records_at_once"
                ) from None
        except RayError as error:
            raise FinetuneFailed(f"fine-tuning failed ({type(error).__name__})") from None
        time.sleep(pause_s(losses))


def _told(cause: BaseException) -> Exception:
    """The error as it is where its text is public, else its type."""
    if isinstance(cause, (*_PUBLIC, DataError)):
        return cause
    if isinstance(cause, ShardError):
        return FinetuneFailed(str(cause))
    return FinetuneFailed(f"fine-tuning failed ({type(cause).__name__})")
