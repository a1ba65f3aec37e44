"""The actor that fine-tunes the renderer's model (`method: dp-finetune`), in its place before engines start."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from spti_ray.config import Config, EngineConfig, EnginesConfig
from spti_ray.finetuning.public_interface import FinetuneFailed
from spti_ray.models.gpu_share import hold_torch_to_share
from spti_ray.models.writable_home import set_home_and_user
from spti_ray.private.output_suppression import suppress_output_permanently
from spti_ray.private.safe_errors import safe_errors
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.hosting.trainer import TrainerHost, public_failure, trained
from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.ray.cluster import Reserved
from spti_ray.runtime.ray.events import creation_failure
from spti_ray.runtime.ray.launch import options_in_place_of
from spti_ray.runtime.scheduling.retries import PRIVATE_CALL

_LOOK_EVERY_S = 10.0


@ray.remote
class TrainerActor(TrainerHost):
    """The trainer in an actor."""

    @safe_errors("starting")
    def __init__(self, renderer: EngineConfig) -> None:
        """`renderer`: the engine in whose place it works."""
        set_home_and_user()
        suppress_output_permanently()
        hold_torch_to_share(renderer)


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

    def train() -> None:
        options = options_in_place_of("renderer", reserved, bundles, engines)
        trainer: Any = TrainerActor.options(**options).remote(engines.renderer)
        try:
            _finished(trainer, config, run, on_look)
        finally:
            # What it held is the renderer's from now on.
            ray.kill(trainer)

    return trained(run, engines, train)


def _finished(trainer: Any, config: Config, run: RunDir, on_look: Callable[[], None]) -> None:
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
            raise public_failure(error.cause) from None
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
        time.sleep(PRIVATE_CALL.wait_s(losses))
