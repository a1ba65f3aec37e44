"""Baseline `dp-finetune`: DP-SGD on the renderer's own UNet, at the epsilon of a run, on the same private images.

What it may see is what SPTI may see, but for the captions: private images, and the public label list and prompts. The
folder that it leaves holds a stock pipeline, which the renderer's engine loads.

**Sampling.** The number of units N is private, so the rate is q = batch_size / records_estimate, both public. The
guarantee is that of q, whatever N is; if the estimate is too small, batches are larger than `batch_size` (more work and
more signal against the same noise), and smaller if it is too large. The sum is divided by `batch_size` either way.

**Groups.** With `privacy.unit: group` a unit is a group, each of whose draws is of one of its records at random.

**Resuming.** State (weights, averages, Adam's moments) is saved every few minutes. Each step is charged in
`steps.log` before anything of it is drawn. Steps that a crash loses are taken again from the saved state with fresh
samples and fresh noise, and count twice: the noise is calibrated to `steps + spare_steps`, fixed before the first,
and when all are charged the training ends with the steps that it has. So the figure holds for everything that was
ever drawn.

**What the figure means.** It is certified for exact arithmetic. The noise is a floating-point Gaussian (see
`dp_sgd`), the gradients are float32, and how long a step takes tells how large its batch was. So no certificate is
written, nothing is charged to the data set's lifetime budget, and the folder stays internal: it is for comparing
methods.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spti_ray.config import Config, EngineConfig, FinetuneConfig
from spti_ray.dp.subsampled import SgdPlan, calibrate_sgd, sample_rate, sgd_epsilon
from spti_ray.finetuning.denoiser import WITHOUT_TEXT, Denoiser
from spti_ray.finetuning.dp_sgd import DpSgd, Mechanism
from spti_ray.finetuning.public_side import (
    FINISHED,
    FinetuneFailed,
    FolderBusy,
    prompts_of,
    trained_engine,
)
from spti_ray.finetuning.steps import StepBook
from spti_ray.io.files import DiskFull, atomic_file, fsync_folder, private_folder, write_atomic
from spti_ray.models.factory import engines_config
from spti_ray.private.dataset import load_shard
from spti_ray.private.record import Record
from spti_ray.private.source import DataError
from spti_ray.types import ImageArray

OnStep = Callable[[int, int], None]

STATEMENT = (
    "internal: DP-SGD at the stated epsilon in exact arithmetic, with floating-point noise and without a certificate; "
    "not charged to the data set's lifetime budget. For comparing methods, never part of a release."
)


@dataclass(frozen=True)
class FinetuneResult:
    """What was trained. `engine`: the renderer with the trained model. `plan` is None without noise.

    `charged_epsilon` is what the charged steps cost at the plan's delta, at most the run's epsilon.
    """

    engine: EngineConfig
    plan: SgdPlan | None
    steps: int
    charged_steps: int
    charged_epsilon: float | None
    noise: str


def plan_of(settings: FinetuneConfig, epsilon: float | None, delta: float) -> tuple[SgdPlan | None, Mechanism]:
    """The noise of a training; no plan and no noise if epsilon is None (infinity). ValueError with one line."""
    rate = sample_rate(settings.batch_size, settings.records_estimate)
    plan = None
    if epsilon is not None:
        plan = calibrate_sgd(epsilon, delta, rate, settings.steps, settings.spare_steps)
    noise = plan.noise_multiplier if plan else 0.0
    return plan, Mechanism(rate, noise, settings.clip_norm, rate * settings.records_estimate)


def finetune_run(
    config: Config, folder: Path, on_problems: Callable[[list[tuple[int, str]]], None] = lambda problems: None
) -> FinetuneResult:
    """The baseline of a run's configuration, on the private images that it names. See `finetune`.

    `on_problems` gets the records that take no part (index, fixed reason) when all are read; they are PRIVATE.
    """
    return finetune(
        engines_config(config.runtime.engines).renderer,
        _told(load_shard(config.data, config.privacy.unit, 0, 1, config.evolution.label_names), on_problems),
        prompts_of(config),
        config.finetune,
        None if math.isinf(config.privacy.epsilon) else config.privacy.epsilon,
        config.privacy.delta,
        folder,
    )


def _told(records: Iterable[Record], on_problems: Callable[[list[tuple[int, str]]], None]) -> Iterator[Record]:
    problems: list[tuple[int, str]] = []
    for record in records:
        if record.problem:
            problems.append((record.index, record.problem))
        yield record
    on_problems(problems)


@dataclass(frozen=True, repr=False)
class PrivateUnits:
    """PRIVATE: latents [P, C, H, W] of all records, their labels' numbers [P], and the records of each unit."""

    latents: Tensor
    labels: Tensor
    units: list[list[int]]

    def __repr__(self) -> str:
        return "<PrivateUnits: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("PrivateUnits are private and are never pickled")

    def draw(self, units: list[int], draws: int) -> Tensor:
        """[units * draws]: for each draw of each unit one of its records."""
        rows = [torch.tensor(self.units[unit])[torch.randint(len(self.units[unit]), (draws,))] for unit in units]
        return torch.cat(rows)


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
    """Fine-tune the renderer's model on `records` at (epsilon, delta), and leave it as `folder`/model.

    `records` is PRIVATE; `prompts` gives the public text of each label. `epsilon` None is infinity. `folder` becomes
    mode 0700; if it holds an unfinished training of the same settings, that goes on, and a finished one is returned.
    `on_step(step, of)` tells how far it is.

    Raises:
        FinetuneFailed: another process or other settings have the folder, or something failed (its type, no more).
        UnfitPipeline, DataError, ValueError: the model, the data or the settings can't be used.
    """
    plan, mechanism = plan_of(settings, epsilon, delta)
    identity = {
        "renderer": renderer.model_dump(mode="json", include={"kind", "model", "revision", "options"}),
        "prompts": dict(prompts),
        "finetune": settings.model_dump(mode="json", exclude={"records_at_once", "save_every_s"}),
        "epsilon": epsilon,
        "delta": delta,
        "noise_multiplier": mechanism.noise_multiplier,
    }
    with _locked(private_folder(folder)):
        _check_identity(folder / "settings.json", identity)
        book = StepBook(folder / "steps.log", plan.max_steps if plan else settings.steps + settings.spare_steps)
        finished = folder / FINISHED
        if not finished.exists():
            denoiser = Denoiser(renderer)
            unet = denoiser.trainable(settings)
            failure, outcome = "", (0, "")
            try:
                outcome = _train(denoiser, unet, records, prompts, settings, mechanism, book, folder, on_step)
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
                "charged_steps": book.charged,
                "charged_epsilon": _cost(plan, book.charged),
                "noise": noise if plan else "none",
            }
            write_atomic(finished, json.dumps(document, indent=2) + "\n", mode=0o600)
        told = json.loads(finished.read_text(encoding="utf-8"))
    engine = trained_engine(renderer, folder)
    return FinetuneResult(engine, plan, told["steps"], told["charged_steps"], told["charged_epsilon"], told["noise"])


def _cost(plan: SgdPlan | None, charged: int) -> float | None:
    return sgd_epsilon(plan.noise_multiplier, plan.sample_rate, charged, plan.delta) if plan else None


def _train(
    denoiser: Denoiser,
    unet: nn.Module,
    records: Iterable[Record],
    prompts: Mapping[str, str],
    settings: FinetuneConfig,
    mechanism: Mechanism,
    book: StepBook,
    folder: Path,
    on_step: OnStep,
) -> tuple[int, str]:
    """Train and save; how many steps are in the weights, and what the noise was."""
    labels = list(prompts)
    data = read_units(denoiser, records, labels)
    states = denoiser.states([*prompts.values(), ""])

    def losses(model: nn.Module, units: list[int]) -> Tensor:
        rows = data.draw(units, settings.draws)
        texts = data.labels[rows].clone()
        texts[torch.rand(len(rows)) < WITHOUT_TEXT] = len(labels)
        # A unit's times are spread evenly, so that its gradient is less noisy than with independent ones.
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
        book=book,
    )
    state = folder / "state.safetensors"
    if state.exists():
        with safe_open(state, framework="pt") as file:
            trainer.restore({name: file.get_tensor(name) for name in file.keys()}, file.metadata()["note"])  # noqa: SIM118
    if book.charged < trainer.step:
        raise FinetuneFailed(f"{folder / 'steps.log'} has fewer steps than the saved state: use another folder")
    saved_at = time.monotonic()
    while trainer.step < settings.steps and not book.is_exhausted:
        trainer.take_step()
        on_step(trainer.step, settings.steps)
        if time.monotonic() - saved_at >= settings.save_every_s:
            _save_state(trainer, folder)
            saved_at = time.monotonic()
    _save_state(trainer, folder)
    partial = folder / "model.partial"
    for left in (partial, folder / "model"):
        shutil.rmtree(left, ignore_errors=True)
    denoiser.save(trainer.finish(), partial)
    partial.rename(folder / "model")
    fsync_folder(folder)
    return trainer.step, trainer.noise


def read_units(denoiser: Denoiser, records: Iterable[Record], labels: list[str]) -> PrivateUnits:
    """Latents of the usable records, each seen once and let go; the others take no part."""
    numbers: list[int] = []
    groups: dict[str | int, list[int]] = {}

    def images() -> Iterator[ImageArray]:
        for record in records:
            if record.image is not None and record.label in labels:
                key = record.index if record.group is None else record.group
                groups.setdefault(key, []).append(len(numbers))
                numbers.append(labels.index(record.label))
                yield record.image

    latents = denoiser.latents(images())
    return PrivateUnits(latents, torch.tensor(numbers, dtype=torch.long), list(groups.values()))


def _save_state(trainer: DpSgd, folder: Path) -> None:
    """One file, so that weights and step can't part."""
    tensors, note = trainer.state()
    with atomic_file(folder / "state.safetensors", mode=0o600) as file:
        file.write(save(tensors, {"note": note}))


def _check_identity(file: Path, identity: dict[str, object]) -> None:
    """Pin the settings of a training at its first start; another one is refused by the name of what differs."""
    mine = json.loads(json.dumps(identity))
    if not file.exists():
        write_atomic(file, json.dumps(mine, indent=2) + "\n", mode=0o600)
        return
    theirs = json.loads(file.read_text(encoding="utf-8"))
    changed = [key for key in mine if theirs.get(key) != mine[key]]
    if changed:
        raise FinetuneFailed(
            f"{file.parent} holds a training of other settings ({', '.join(changed)}): use another folder"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two processes in one folder would take the same steps twice. Raises FinetuneFailed."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusy(f"another process trains in {folder}") from None
        yield
    finally:
        os.close(descriptor)
