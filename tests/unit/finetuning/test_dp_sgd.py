"""One step of DP-SGD, on a small network whose gradients can be made as large or broken as wanted."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spti_ray.finetuning import dp_sgd
from spti_ray.finetuning.dp_sgd import DpSgd, Mechanism
from spti_ray.finetuning.step_log import StepLog, StepsExhausted

CLIP = 0.5


class Uncounted:
    """In place of a log of steps on disk."""

    charged = 0

    def charge(self, step: int) -> None:
        self.charged += 1


def trainer(inputs, noise=0.0, rate=1.0, expected=4.0, at_once=2, step_log=None, width=3):
    """Of a fixed network; `inputs` is [units, draws, 3]."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
    inputs = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)

    def losses(wrapped, units):
        return wrapped(inputs[units].flatten(0, 1)).squeeze(1).square()

    return DpSgd(
        model,
        losses,
        len(inputs),
        Mechanism(rate, noise, CLIP, expected),
        learning_rate=0.1,
        average_decay=0.9,
        units_at_once=at_once,
        step_log=step_log or Uncounted(),
    )


def clipped_sum(inputs):
    """What is noised: the sum of clipped gradients of all units, as one vector."""
    made = trainer(inputs)
    for units in made._batch():
        made.accumulate(units)
        made._optimiser.clip_and_accumulate()
        for parameter in made.parameters:
            parameter.grad_sample = None
    return torch.cat([parameter.summed_grad.flatten() for parameter in made.parameters])


def gradients_of(made):
    """The noised and divided gradient of the next step, which the optimiser gets."""
    found = []
    made._optimiser.attach_step_hook(lambda optimiser: found.extend(p.grad.flatten().clone() for p in optimiser.params))
    made.take_step()
    return torch.cat(found)


number = st.sampled_from([0.0, 0.3, -2.0, 1e3, -1e9, 1e30, math.inf, math.nan])


@settings(max_examples=40, deadline=None)
@given(data=st.data(), num_units=st.integers(1, 5), draws=st.integers(1, 3))
def test_one_unit_more_or_less_or_replaced_moves_the_sum_by_the_clipping_norm_at_most(data, num_units, draws):
    rows = st.lists(st.lists(number, min_size=3, max_size=3), min_size=draws, max_size=draws)
    units = data.draw(st.lists(rows, min_size=num_units, max_size=num_units))
    chosen = data.draw(st.integers(0, num_units - 1))
    with_it = clipped_sum(np.reshape(units, (-1, draws, 3)))
    without = clipped_sum(np.reshape(units[:chosen] + units[chosen + 1 :], (-1, draws, 3)))
    replaced = clipped_sum(np.reshape([*units[:chosen], data.draw(rows), *units[chosen + 1 :]], (-1, draws, 3)))
    assert torch.isfinite(with_it).all()
    assert (with_it - without).norm() <= CLIP * (1 + 1e-5)
    assert (with_it - replaced).norm() <= 2 * CLIP * (1 + 1e-5)


def test_a_large_gradient_is_clipped_to_the_norm_and_a_small_one_is_left_alone():
    assert clipped_sum([[[1e3, 0, 0]]]).norm() == pytest.approx(CLIP, rel=1e-4)
    small = clipped_sum([[[1e-2, 0, 0]]])
    twin = trainer([[[1e-2, 0, 0]]])
    twin.accumulate([0])
    assert torch.equal(small, torch.cat([parameter.grad_sample[0].flatten() for parameter in twin.parameters]))


def test_draws_are_averaged_before_they_are_clipped():
    one, other = [[5.0, -3.0, 2.0]], [[-5.0, 3.0, -2.0]]

    def unclipped(unit):
        made = trainer([unit])
        made.accumulate([0])
        return torch.cat([parameter.grad_sample[0].flatten() for parameter in made.parameters])

    mean = (unclipped(one) + unclipped(other)) / 2
    assert torch.allclose(unclipped(one + other), mean, atol=1e-6)
    wanted = mean * min(1.0, CLIP / float(mean.norm()))
    assert torch.allclose(clipped_sum([one + other]), wanted, atol=1e-5)
    each = (clipped_sum([one]) + clipped_sum([other])) / 2
    assert not torch.allclose(wanted, each, atol=1e-3), "this data can't tell the two orders apart"


def test_the_sum_is_divided_by_the_expected_size_of_the_batch_whatever_its_size_is():
    unit = [[0.3, 0.2, 0.1]]
    for count in (1, 3, 6):
        assert torch.allclose(gradients_of(trainer([unit] * count)), clipped_sum([unit]) * count / 4.0, atol=1e-6)


@pytest.mark.parametrize("inputs", [np.zeros((0, 1, 3)), np.zeros((3, 1, 3))])
def test_the_noise_has_its_scale_also_where_nothing_is_drawn(inputs):
    found = gradients_of(trainer(inputs, noise=2.0, rate=1e-9 if len(inputs) else 1.0, width=4000))
    # 20,001 normal values: the estimate of their deviation is within 3 % except once in 10^9.
    assert float(found.std()) == pytest.approx(2.0 * CLIP / 4.0, rel=0.03)
    assert abs(float(found.mean())) < 7 * 0.25 / math.sqrt(len(found))


def test_units_are_drawn_by_themselves_at_the_rate():
    made = trainer(np.zeros((200, 1, 3)), rate=0.3)
    batches = [[unit for piece in made._batch() for unit in piece] for _ in range(400)]
    sizes = np.array([len(batch) for batch in batches])
    # Binomial(200, 0.3): mean 60, variance 42. Batches of a fixed size, or with units twice, would not fit.
    assert abs(sizes.mean() - 60) < 6 * math.sqrt(42 / 400)
    assert 42 * 0.6 < sizes.var() < 42 * 1.6
    assert all(len(set(batch)) == len(batch) for batch in batches)
    times = np.bincount([unit for batch in batches for unit in batch], minlength=200)
    assert (abs(times - 120) < 6 * math.sqrt(400 * 0.3 * 0.7)).all()


def test_a_batch_comes_in_pieces_and_is_noised_once():
    made = trainer(np.zeros((5, 1, 3)), at_once=2)
    assert sorted(len(piece) for piece in made._batch()) == [1, 2, 2]
    assert made._optimiser._step_skip_queue == [True, True, False]


@pytest.mark.parametrize("what", ["noise", "samples"])
def test_trainers_that_are_seeded_alike_draw_different_noise_and_samples(what):
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        made = trainer(np.zeros((64, 1, 3)), noise=1.0, rate=1.0 if what == "noise" else 0.5)
        found.append(gradients_of(made).tolist() if what == "noise" else list(made._batch()))
    assert found[0] != found[1]


def test_nothing_is_drawn_once_no_step_is_paid_for(tmp_path):
    made = trainer([[[1.0, 2.0, 3.0]]], noise=1.0, step_log=StepLog(tmp_path / "steps.log", 1))
    made.take_step()
    weights = [parameter.clone() for parameter in made.parameters]
    made._losses = None  # a batch would fail
    with pytest.raises(StepsExhausted):
        made.take_step()
    assert all(torch.equal(a, b) for a, b in zip(weights, made.parameters, strict=True))


def test_a_step_is_charged_before_anything_of_it_is_drawn(tmp_path):
    made = trainer([[[1.0, 2.0, 3.0]]], step_log=StepLog(tmp_path / "steps.log", 3))
    seen = []

    def losses(model, units):
        seen.append((tmp_path / "steps.log").read_text())
        raise RuntimeError

    made._losses = losses
    with pytest.raises(RuntimeError):
        made.take_step()
    assert seen == ["0\n"]


@pytest.mark.parametrize("steps_before", [0, 3])
def test_what_is_restored_goes_on_as_if_nothing_had_happened(steps_before):
    inputs = np.random.default_rng(0).normal(size=(6, 2, 3))
    whole = trainer(inputs)
    for _ in range(steps_before):
        whole.take_step()
    tensors, note = whole.state()
    kept = {name: values.clone() for name, values in tensors.items()}
    resumed = trainer(inputs)
    resumed.restore(kept, note)
    for _ in range(2):
        whole.take_step()
        resumed.take_step()
    assert resumed.step == whole.step == steps_before + 2
    for one, other in zip(resumed.finish().parameters(), whole.finish().parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_cryptographic_generator_is_used_where_there_is_one(monkeypatch):
    asked = []

    def create(device):
        asked.append(device)
        return torch.Generator()

    monkeypatch.setitem(sys.modules, "torchcsprng", SimpleNamespace(create_random_device_generator=create))
    made = trainer([[[1.0, 2.0, 3.0]]], noise=1.0)
    assert asked == ["/dev/urandom"]
    assert made._optimiser.secure_mode
    assert made.noise == dp_sgd.SECURE_NOISE
    monkeypatch.delitem(sys.modules, "torchcsprng")
    plain = trainer([[[1.0, 2.0, 3.0]]], noise=1.0)
    assert not plain._optimiser.secure_mode
    assert "no certificate" in plain.noise
