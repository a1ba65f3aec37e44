"""DP-SGD (Abadi et al., arXiv 1607.00133) by Opacus, where a privacy unit's gradient is a mean over several draws.

`dp.subsampled` accounts for one step, which does the following. Each unit is in the batch with probability q,
independently (Poisson sampling). Each drawn unit's gradient is the mean over its draws (augmentation multiplicity: De
et al., arXiv 2204.13650; Ghalebikesabi et al., arXiv 2302.13861), and is clipped after that, to norm C. Gaussian noise
of standard deviation C * noise_multiplier is added to the sum. The sum is divided by the *expected* size of the batch,
which is public. The optimiser and the averaged weights see only that quotient: post-processing.

Guarantees: one unit more or less changes the sum before noise by a vector of norm at most C. A gradient that is not
finite counts as zero. An empty batch gets noise like any other. All of this holds up to float32 rounding.
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
    """The public numbers of every step. `expected_units`: sample_rate times the public estimate of the units."""

    sample_rate: float
    noise_multiplier: float
    clip_norm: float
    expected_units: float


def noise_generator(device: torch.device) -> tuple[torch.Generator, bool]:
    """The generator of the noise, which is never seeded by us, and whether it is a cryptographic one."""
    try:
        secure: Any = importlib.import_module("torchcsprng")
    except ImportError:
        generator = torch.Generator(device)
        generator.seed()
        return generator, False
    return secure.create_random_device_generator("/dev/urandom"), True


class DpSgd:
    """Trains the parameters of a model that require gradients, one charged step at a time."""

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
        step_log: StepLog,
    ) -> None:
        """Prepare the training.

        Args:
            model: The model to train.
            losses: From the model and the numbers of n units to losses [n * draws], each unit's draws one after the
                other, by one call of the model on a batch of that size.
            num_units: PRIVATE: how many units there are. The time that a step takes depends on it, and is private too.
            mechanism: The public numbers of every step.
            learning_rate: Of AdamW.
            average_decay: Of the exponential moving average of the weights.
            units_at_once: How many units' gradients are in memory together.
            step_log: Where steps are charged.
        """
        self._wrapped = GradSampleModule(model.train())
        self._losses = losses
        self._num_units = num_units
        self._rate = mechanism.sample_rate
        self._units_at_once = units_at_once
        self._step_log = step_log
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
        """Take one charged step.

        Raises:
            StepsExhausted: no more steps are paid for; nothing was drawn.
        """
        self._step_log.charge(self.step)
        for units in self._batch():
            self.accumulate(units)
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)
        self._average.step(self.parameters)
        self.step += 1

    def _batch(self) -> Iterable[list[int]]:
        """A Poisson sample of units, in pieces of at most `units_at_once`; the optimiser is told the last one."""
        if not self._num_units:
            self._optimiser.signal_skip_step(do_skip=False)
            return [[]]
        sampler = UniformWithReplacementSampler(
            num_samples=self._num_units, sample_rate=self._rate, generator=self._sampling, steps=1
        )
        return BatchSplittingSampler(sampler=sampler, max_batch_size=self._units_at_once, optimizer=self._optimiser)

    def accumulate(self, units: list[int]) -> None:
        """Compute each unit's gradient, [units, ...], into the parameters' `grad_sample`, where Opacus clips it."""
        if not units:
            for parameter in self.parameters:
                parameter.grad_sample = torch.zeros((0, *parameter.shape), device=parameter.device)
            return
        self._losses(self._wrapped, units).mean().backward()
        for parameter in self.parameters:
            draws: Tensor = parameter.grad_sample
            parameter.grad = None
            mean = draws.float().unflatten(0, (len(units), -1)).mean(dim=1)
            # One gradient that is not finite would make the sum not finite, and so show itself.
            parameter.grad_sample = torch.nan_to_num(mean, nan=0.0, posinf=0.0, neginf=0.0)

    def finish(self) -> nn.Module:
        """The model with its averaged weights and without Opacus' hooks."""
        self._average.copy_to(self.parameters)
        return self._wrapped.to_standard_module()

    def state(self) -> tuple[dict[str, Tensor], str]:
        """The state that `restore` takes: tensors and a note in JSON. It is differentially private like the weights."""
        tensors: dict[str, Tensor] = {}
        for name, values in self._named_state():
            tensors[name] = values.detach().to("cpu").contiguous()
        return tensors, json.dumps({"step": self.step, "averaged": self._average.optimization_step})

    def restore(self, tensors: dict[str, Tensor], note: str) -> None:
        """Go back to a saved `state`. Steps that were charged since then stay charged."""
        numbers = json.loads(note)
        self.step, self._average.optimization_step = numbers["step"], numbers["averaged"]
        if self.step:
            self._make_moments()
        for name, values in self._named_state():
            values.data.copy_(tensors[name])

    def _make_moments(self) -> None:
        """Make Adam create its state, which only a step does; this step leaves the parameters as they are."""
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
