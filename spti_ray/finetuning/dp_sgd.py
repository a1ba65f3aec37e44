"""DP-SGD (Abadi et al., arXiv 1607.00133) by Opacus, on units whose gradient is a mean over several draws.

One step, for which `dp.subsampled` accounts: each unit is in the batch with probability q by itself (Poisson
sampling); each drawn unit's gradient is the mean over its draws (augmentation multiplicity: De et al., arXiv
2204.13650, Ghalebikesabi et al., arXiv 2302.13861) and is clipped *then*, to norm C; Gaussian noise of deviation C *
noise_multiplier is added to the sum, which is divided by the *expected* size of the batch, a public number. Optimiser
and averaged weights only see that quotient: post-processing.

Formal guarantees: one unit more or less changes the sum before noise by a vector of norm C at most; a gradient that is
not finite counts as zero; an empty batch is noised like any other. All of it holds up to float32 rounding.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from opacus.utils.batch_memory_manager import BatchSplittingSampler
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from torch import Tensor, nn

from spti_ray.finetuning.step_log import StepLog

FLOAT_NOISE = (
    "torch's float32 Gaussian from a generator seeded by the operating system: neither a cryptographic generator nor "
    "exact sampling, so that no certificate is written"
)
SECURE_NOISE = (
    "torchcsprng's cryptographic generator, in Opacus' secure mode: float arithmetic all the same, so that no "
    "certificate is written"
)


@dataclass(frozen=True)
class Mechanism:
    """Public numbers of every step. `expected_units`: sample_rate times the public estimate of the units."""

    sample_rate: float
    noise_multiplier: float
    clip_norm: float
    expected_units: float


def noise_generator(device: torch.device) -> tuple[torch.Generator, bool]:
    """The source of noise, never seeded by us, and whether it is a cryptographic one."""
    try:
        secure: Any = importlib.import_module("torchcsprng")
    except ImportError:
        generator = torch.Generator(device)
        generator.seed()
        return generator, False
    return secure.create_random_device_generator("/dev/urandom"), True


class DpSgd:
    """Trains the parameters of `model` that require gradients."""

    def __init__(
        self,
        model: nn.Module,
        losses: Callable[[nn.Module, list[int]], Tensor],
        num_units: int,
        mechanism: Mechanism,
        *,
        learning_rate: float,
        average_decay: float,
        units_at_once: int,
        book: StepLog,
    ) -> None:
        """`losses(model, units)`: [units * draws], each unit's draws one after the other, from one call of `model` on a
        batch of that size. `num_units` is PRIVATE; so is the time that a step takes."""
        self._wrapped = GradSampleModule(model.train())
        self._losses = losses
        self._num_units = num_units
        self._rate = mechanism.sample_rate
        self._units_at_once = units_at_once
        self._book = book
        self.parameters: list[Any] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        device = self.parameters[0].device
        noise, self.is_secure = noise_generator(device)
        self._sampling = torch.Generator()
        self._sampling.seed()
        self._optimiser = DPOptimizer(
            torch.optim.AdamW(self.parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.0),
            noise_multiplier=mechanism.noise_multiplier,
            max_grad_norm=mechanism.clip_norm,
            expected_batch_size=mechanism.expected_units,  # pyright: ignore[reportArgumentType] only divides by it
            generator=noise,
            secure_mode=self.is_secure,
        )
        self._average = EMAModel(self.parameters, decay=average_decay)
        self.step = 0

    @property
    def noise(self) -> str:
        """What the noise is, in words."""
        return SECURE_NOISE if self.is_secure else FLOAT_NOISE

    def take_step(self) -> None:
        """One charged step. Raises StepsExhausted, having drawn nothing, when no more are paid for."""
        self._book.charge(self.step)
        for units in self._batch():
            self.accumulate(units)
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)
        self._average.step(self.parameters)
        self.step += 1

    def _batch(self) -> Iterable[list[int]]:
        """A Poisson sample in pieces of at most `units_at_once`; the optimiser is told which is the last."""
        if not self._num_units:
            self._optimiser.signal_skip_step(do_skip=False)
            return [[]]
        sampler = UniformWithReplacementSampler(
            num_samples=self._num_units, sample_rate=self._rate, generator=self._sampling, steps=1
        )
        return BatchSplittingSampler(sampler=sampler, max_batch_size=self._units_at_once, optimizer=self._optimiser)

    def accumulate(self, units: list[int]) -> None:
        """Leave each unit's gradient, [units, ...], in the parameters' `grad_sample`, where Opacus clips it."""
        if not units:
            for parameter in self.parameters:
                parameter.grad_sample = torch.zeros((0, *parameter.shape), device=parameter.device)
            return
        self._losses(self._wrapped, units).mean().backward()
        for parameter in self.parameters:
            draws: Tensor = parameter.grad_sample
            parameter.grad = None
            mean = draws.float().unflatten(0, (len(units), -1)).mean(dim=1)
            # One gradient that is not finite would make the sum so, for all to see.
            parameter.grad_sample = torch.nan_to_num(mean, nan=0.0, posinf=0.0, neginf=0.0)

    def finish(self) -> nn.Module:
        """The model, without hooks, with its averaged weights."""
        self._average.copy_to(self.parameters)
        return self._wrapped.to_standard_module()

    def state(self) -> tuple[dict[str, Tensor], str]:
        """Tensors, and a note in JSON, from which `restore` goes on. Differentially private like the weights."""
        tensors: dict[str, Tensor] = {}
        for name, values in self._named_state():
            tensors[name] = values.detach().to("cpu").contiguous()
        return tensors, json.dumps({"step": self.step, "averaged": self._average.optimization_step})

    def restore(self, tensors: dict[str, Tensor], note: str) -> None:
        """Undo the loss of everything but the steps that were charged since."""
        numbers = json.loads(note)
        self.step, self._average.optimization_step = numbers["step"], numbers["averaged"]
        if self.step:
            self._make_moments()
        for name, values in self._named_state():
            values.data.copy_(tensors[name])

    def _make_moments(self) -> None:
        """Adam's state is made by its first step; this one leaves the parameters as they are."""
        adam = self._optimiser.original_optimizer
        rates = [group["lr"] for group in adam.param_groups]
        for group in adam.param_groups:
            group["lr"] = 0.0
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        adam.step()
        adam.zero_grad(set_to_none=True)
        for group, rate in zip(adam.param_groups, rates, strict=True):
            group["lr"] = rate

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        for index, parameter in enumerate(self.parameters):
            yield f"{index}.weights", parameter
            yield f"{index}.average", self._average.shadow_params[index]
            for name, values in self._optimiser.state.get(parameter, {}).items():
                yield f"{index}.adam.{name}", values
