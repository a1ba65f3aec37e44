"""The trainer of the renderer's model (`method: dp-finetune`) in the process that it runs in.

It alone reads the private images. Its process is silent and its exceptions are content-free, as a shard's; the model
stays in the run's internal folder, and nothing comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from spti_ray.config import Config, EnginesConfig
from spti_ray.config.loading import ConfigError
from spti_ray.finetuning.public_interface import (
    FINISHED,
    FinetuneFailed,
    FolderBusy,
    UnfitPipeline,
    require_trainer,
    trained_engine,
)
from spti_ray.io.files import DiskFull
from spti_ray.private.kinds import DataError
from spti_ray.private.safe_errors import ShardError, safe_errors
from spti_ray.runs.folder import RunDir

_FOLDER_BUSY_S = 60.0
"""For how long the process of an attempt that was killed may take to end."""

_PUBLIC = (ConfigError, FinetuneFailed, UnfitPipeline, DiskFull)
"""Errors of a training whose text shows nothing private."""


class TrainerHost:
    """Trains on all records, which are one shard. What a restart loses since the last saved state is trained again."""

    shard_id = 0

    @safe_errors("fine-tuning", also=_PUBLIC)
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


def trained(run: RunDir, engines: EnginesConfig, train: Callable[[], None]) -> EnginesConfig:
    """The engines with the renderer that `train` leaves in the run; it is called unless the training is finished."""
    if not (run.training / FINISHED).exists():
        train()
    return engines.model_copy(update={"renderer": trained_engine(engines.renderer, run.training.resolve())})


def public_failure(cause: BaseException) -> Exception:
    """The error of a training as it is where its text is public, else its type."""
    if isinstance(cause, (*_PUBLIC, DataError)):
        return cause
    if isinstance(cause, ShardError):
        return FinetuneFailed(str(cause))
    return FinetuneFailed(f"fine-tuning failed ({type(cause).__name__})")
