"""The training loop of the bundled models goes on where it was cut off."""

import json

import pytest
import torch
from torch import nn

from jobs.embedded import loop
from jobs.embedded.loop import Recipe, train

RECIPE = Recipe(steps=12, batch=4, rate=1e-2, warmup=3, decay=0.01, average=0.9, seed=7)


class Cut(Exception):
    """What a power cut is to a process."""


def fit(folder, recipe=RECIPE, cut_at=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 1))

    def loss_of(generator, step):
        if step == cut_at:
            raise Cut
        inputs = torch.randn(recipe.batch, 3, generator=generator)
        return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    return train(folder, model, recipe, loss_of).state_dict()


@pytest.mark.parametrize("cut_at", [1, 7, 11])
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, monkeypatch, cut_at):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1)
    whole = fit(tmp_path / "whole")
    with pytest.raises(Cut):
        fit(tmp_path / "cut", cut_at=cut_at)
    resumed = fit(tmp_path / "cut")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert json.loads((tmp_path / "cut" / "log.jsonl").read_text().splitlines()[-1])["step"] == RECIPE.steps


def test_a_finished_training_is_not_repeated(tmp_path):
    first = fit(tmp_path)
    again = fit(tmp_path, cut_at=0)  # would raise at the first step
    assert all(torch.equal(again[name], value) for name, value in first.items())


def test_another_recipe_does_not_go_on_from_this_ones_state(tmp_path):
    fit(tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        fit(tmp_path, Recipe(steps=20, batch=4, rate=1e-2, warmup=3, decay=0.01, average=0.9, seed=7))


def test_the_rate_rises_and_then_falls_to_a_hundredth():
    rates = [loop._rate(RECIPE, step) for step in range(RECIPE.steps)]
    assert rates[:3] == sorted(rates[:3]) and rates[3:] == sorted(rates[3:], reverse=True)
    assert max(rates) == pytest.approx(RECIPE.rate) and rates[-1] < 0.1 * RECIPE.rate
