"""The baseline `dp-finetune`: DP-SGD on the renderer's own UNet, at the epsilon of a run, on the same private images.

It sees what SPTI sees, without captions: the private images, and the public labels and prompts. It leaves a folder with
a standard pipeline, which the renderer's engine loads.

**Sampling.** The number of units N is private, so the rate is q = batch_size / records_estimate, both public. The
guarantee depends on q alone, whatever N is. If the estimate is too small, batches are larger than `batch_size` (more
work, and more signal against the same noise); if it is too large, they are smaller. The sum is divided by `batch_size`
either way.

**Groups.** With `privacy.unit: group` a unit is a group, and each of its draws takes one of its records at random.

**Resuming.** State (weights, averages, Adam's moments) is saved every few minutes. Each step is charged in
`steps.log` before anything of it is drawn. Steps that a crash loses are taken again from the saved state, with fresh
samples and fresh noise, and are charged again. The noise is calibrated to `steps + spare_steps`, which is fixed before
the first step. When all are charged, the training ends with the steps that it has. So epsilon holds for everything that
was ever drawn.

**What epsilon means here.** It holds for exact arithmetic. But the noise is a floating-point Gaussian (see `dp_sgd`),
the gradients are float32, and the time of a step shows how large its batch was. So no certificate is written, nothing
is charged to the data set's lifetime budget, and the folder stays internal: it is for comparing methods.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spti_ray.config import Config, EngineConfig, FinetuneConfig
from spti_ray.dp.subsampled import SgdPlan, calibrate_sgd, sample_rate, sgd_epsilon
from spti_ray.finetuning.denoiser import WITHOUT_TEXT, Denoiser
from spti_ray.finetuning.dp_sgd import DpSgd, Mechanism
from spti_ray.finetuning.private_units import read_units
from spti_ray.finetuning.public_interface import (
    FINISHED,
    FinetuneFailed,
    label_prompts,
    trained_engine,
)
from spti_ray.finetuning.step_log import StepLog
from spti_ray.finetuning.training_folder import check_settings, locked, restore_state, save_state
from spti_ray.io.files import DiskFull, fsync_folder, private_folder, write_atomic
from spti_ray.models.factory import engines_config
from spti_ray.private.dataset import load_shard
from spti_ray.private.kinds import DataError
from spti_ray.private.record import Record

OnStep = Callable[[int, int], None]

STATEMENT = (
    "internal: DP-SGD at the stated epsilon in exact arithmetic, with floating-point noise and without a certificate; "
    "not charged to the data set's lifetime budget. For comparing methods, never part of a release."
)


@dataclass(frozen=True)
class FinetuneResult:
    """The result of a training.

    `engine`: the renderer with the trained model. `plan`: None without noise. `steps`: those in the weights.
    `charged_steps`: those and the ones that crashes lost. `charged_epsilon`: what the charged steps cost at the plan's
    delta, at most the run's epsilon. `noise`: what the noise is, in words.
    """

    engine: EngineConfig
    plan: SgdPlan | None
    steps: int
    charged_steps: int
    charged_epsilon: float | None
    noise: str


def plan_noise(settings: FinetuneConfig, epsilon: float | None, delta: float) -> tuple[SgdPlan | None, Mechanism]:
    """Calibrate the noise of a training.

    Args:
        settings: Batch size, steps and clipping.
        epsilon: The epsilon of the whole training; None for infinity, which takes no noise.
        delta: The delta of the whole training.

    Returns:
        The plan (None without noise) and the numbers of each step.

    Raises:
        ValueError: the settings can't be used; one line.
    """
    rate = sample_rate(settings.batch_size, settings.records_estimate)
    plan = None
    if epsilon is not None:
        plan = calibrate_sgd(epsilon, delta, rate, settings.steps, settings.spare_steps)
    noise = plan.noise_multiplier if plan else 0.0
    return plan, Mechanism(rate, noise, settings.clip_norm, rate * settings.records_estimate)


def finetune_run(
    config: Config, folder: Path, on_problems: Callable[[list[tuple[int, str]]], None] = lambda problems: None
) -> FinetuneResult:
    """Run the baseline for a run's configuration, on the private images that it names. See `finetune`.

    Args:
        config: The run's configuration.
        folder: Where the training is kept.
        on_problems: Takes the records that are left out, as (index, fixed reason), once all are read. They are PRIVATE.
    """
    return finetune(
        engines_config(config.runtime.engines).renderer,
        _collect_problems(
            load_shard(config.data, config.privacy.unit, 0, 1, config.evolution.label_names), on_problems
        ),
        label_prompts(config),
        config.finetune,
        None if math.isinf(config.privacy.epsilon) else config.privacy.epsilon,
        config.privacy.delta,
        folder,
    )


def _collect_problems(
    records: Iterable[Record], on_problems: Callable[[list[tuple[int, str]]], None]
) -> Iterator[Record]:
    problems: list[tuple[int, str]] = []
    for record in records:
        if record.problem:
            problems.append((record.index, record.problem))
        yield record
    on_problems(problems)


def finetune(
    renderer: EngineConfig,
    records: Iterable[Record],
    prompts: Mapping[str, str],
    settings: FinetuneConfig,
    epsilon: float | None,
    delta: float,
    folder: Path,
    *,
    on_step: OnStep = lambda step, of: None,
) -> FinetuneResult:
    """Fine-tune the renderer's model on private records at (epsilon, delta), and leave it as `folder`/model.

    Args:
        renderer: The renderer whose model is trained.
        records: PRIVATE: the records.
        prompts: The public text of each label.
        settings: How to train.
        epsilon: The epsilon of the whole training; None for infinity.
        delta: The delta of the whole training.
        folder: Where the training is kept; it becomes mode 0700. An unfinished training of the same settings that it
            holds is continued, and a finished one is returned.
        on_step: Is called with (step, number of steps) after each step.

    Raises:
        FinetuneFailed: another process or other settings use the folder, or something failed (only its type is told).
        UnfitPipeline, DataError, ValueError: the model, the data or the settings can't be used.
    """
    plan, mechanism = plan_noise(settings, epsilon, delta)
    identity = {
        "renderer": renderer.model_dump(mode="json", include={"kind", "model", "revision", "options"}),
        "prompts": dict(prompts),
        "finetune": settings.model_dump(mode="json", exclude={"records_at_once", "save_every_s"}),
        "epsilon": epsilon,
        "delta": delta,
        "noise_multiplier": mechanism.noise_multiplier,
    }
    with locked(private_folder(folder)):
        check_settings(folder / "settings.json", identity)
        step_log = StepLog(folder / "steps.log", plan.max_steps if plan else settings.steps + settings.spare_steps)
        finished = folder / FINISHED
        if not finished.exists():
            denoiser = Denoiser(renderer)
            unet = denoiser.trainable(settings)
            failure, outcome = "", (0, "")
            try:
                outcome = _train(denoiser, unet, records, prompts, settings, mechanism, step_log, folder, on_step)
            except (DataError, DiskFull, FinetuneFailed):
                raise
            except Exception as error:  # noqa: BLE001 whatever it is, its text may be private
                failure = type(error).__name__
            if failure:
                # Raised here, after the handler: inside, the private exception would become its __context__.
                raise FinetuneFailed(f"dp-finetune: training failed ({failure})")
            steps, noise = outcome
            document = {
                "statement": STATEMENT,
                "private": plan is not None,
                "epsilon": epsilon,
                "delta": delta,
                "plan": asdict(plan) if plan else None,
                "steps": steps,
                "charged_steps": step_log.charged,
                "charged_epsilon": _cost(plan, step_log.charged),
                "noise": noise if plan else "none",
            }
            write_atomic(finished, json.dumps(document, indent=2) + "\n", mode=0o600)
        found = json.loads(finished.read_text(encoding="utf-8"))
    engine = trained_engine(renderer, folder)
    return FinetuneResult(
        engine, plan, found["steps"], found["charged_steps"], found["charged_epsilon"], found["noise"]
    )


def _cost(plan: SgdPlan | None, charged: int) -> float | None:
    return sgd_epsilon(plan.noise_multiplier, plan.sample_rate, charged, plan.delta) if plan else None


def _train(
    denoiser: Denoiser,
    unet: nn.Module,
    records: Iterable[Record],
    prompts: Mapping[str, str],
    settings: FinetuneConfig,
    mechanism: Mechanism,
    step_log: StepLog,
    folder: Path,
    on_step: OnStep,
) -> tuple[int, str]:
    """Train and save the model.

    Returns:
        The number of steps in the weights, and what the noise was.
    """
    labels = list(prompts)
    data = read_units(denoiser, records, labels)
    states = denoiser.states([*prompts.values(), ""])

    def losses(model: nn.Module, units: list[int]) -> Tensor:
        rows = data.draw(units, settings.draws)
        texts = data.labels[rows].clone()
        texts[torch.rand(len(rows)) < WITHOUT_TEXT] = len(labels)
        # The times of a unit's draws are spread evenly: its gradient is less noisy than with independent times.
        places = torch.arange(settings.draws).repeat(len(units))
        times = (places + torch.rand(len(rows))) / settings.draws
        device = data.latents.device
        return denoiser.losses(model, data.latents[rows.to(device)], states[texts.to(device)], times.to(device))

    trainer = DpSgd(
        unet,
        losses,
        len(data.units),
        mechanism,
        learning_rate=settings.learning_rate,
        average_decay=settings.average_decay,
        units_at_once=settings.records_at_once,
        step_log=step_log,
    )
    restore_state(trainer, folder)
    if step_log.charged < trainer.step:
        raise FinetuneFailed(f"{folder / 'steps.log'} has fewer steps than the saved state: use another folder")
    saved_at = time.monotonic()
    while trainer.step < settings.steps and not step_log.is_exhausted:
        trainer.take_step()
        on_step(trainer.step, settings.steps)
        if time.monotonic() - saved_at >= settings.save_every_s:
            save_state(trainer, folder)
            saved_at = time.monotonic()
    save_state(trainer, folder)
    partial = folder / "model.partial"
    for left in (partial, folder / "model"):
        shutil.rmtree(left, ignore_errors=True)
    denoiser.save(trainer.finish(), partial)
    partial.rename(folder / "model")
    fsync_folder(folder)
    return trainer.step, trainer.noise
