"""The lifetime budget: what is refused, when, and what the refusal offers instead."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from spti_ray.dp.budget import BudgetRefused
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.lifetime import lifetime_epsilon


def book(folder: Path, budget: float | None) -> Ledger:
    ledger = Ledger(folder, "ds")
    ledger.register(budget, 1e-5)
    return ledger


def spend_one_run(ledger: Ledger, name: str, epsilon: float = 1.0, generations: int = 4) -> None:
    plan = calibrate(epsilon, 1e-5, 1, generations)
    lease = ledger.open_run(name, plan, "c", "noise", True)
    for generation in range(generations):
        lease.reserve(generation, "ab", 4, "v")


def test_a_refused_run_is_told_settings_that_are_then_accepted(tmp_path: Path):
    ledger = book(tmp_path, 2.0)
    spend_one_run(ledger, "first")
    plan = calibrate(2.0, 1e-5, 1, 6)
    with pytest.raises(BudgetRefused) as refused:
        ledger.open_run("second", plan, "c", "noise", True)
    text = str(refused.value)
    assert "lifetime epsilon 2 (delta 1e-05), of which 0.99" in text and "\n" not in text
    epsilon = float(re.findall(r"privacy\.epsilon=([\d.]+), or", text)[0])
    generations, paired = re.findall(r"evolution\.generations=(\d+) with privacy\.epsilon=([\d.]+)", text)[0]
    for name, fits in (
        ("a", calibrate(epsilon, 1e-5, 1, 6)),
        ("b", calibrate(float(paired), 1e-5, 1, int(generations))),
    ):
        other = book(tmp_path / name, 2.0)
        spend_one_run(other, "first")
        spend_one_run(other, "second", fits.epsilon, fits.generations)
        spent = other.entries()[-1].event.epsilon_after  # type: ignore[union-attr]
        assert 1.9 < spent <= 2.0, "it fits, and is nearly the largest that does"


def test_nothing_fits_a_spent_budget_and_the_refusal_says_so(tmp_path: Path):
    ledger = book(tmp_path, 1.0)
    spend_one_run(ledger, "first", 1.0)
    with pytest.raises(BudgetRefused, match="the most that fits: nothing"):
        ledger.open_run("second", calibrate(1.0, 1e-5, 1, 4), "c", "noise", True)


def test_a_run_whose_budget_others_spent_in_between_is_refused_on_resume(tmp_path: Path):
    ledger = book(tmp_path, 1.5)
    plan = calibrate(1.0, 1e-5, 1, 4)
    ledger.open_run("slow", plan, "c", "noise", True).reserve(0, "ab", 4, "v")
    spend_one_run(ledger, "quick", 1.0, 5)
    with pytest.raises(BudgetRefused, match="the 3 queries that run 'slow' has left: other runs spent in between"):
        ledger.open_run("slow", plan, "c", "noise", True)


def test_the_forecast_is_what_the_ledger_then_says(tmp_path: Path):
    ledger = book(tmp_path, 4.0)
    spend_one_run(ledger, "first")
    plan = calibrate(1.0, 1e-5, 1, 3)
    forecast = ledger.forecast(plan)
    assert forecast is not None and not forecast.affordable and (forecast.budget, forecast.delta) == (4.0, 1e-5)
    spend_one_run(ledger, "second", 1.0, 3)
    assert ledger.entries()[-1].event.epsilon_after == forecast.after  # type: ignore[union-attr]
    assert Ledger(tmp_path / "elsewhere", "ds").forecast(plan) is None
    assert not (tmp_path / "elsewhere").exists(), "a forecast writes nothing"


def test_runs_of_different_noise_are_charged_by_the_adaptive_rule(tmp_path: Path):
    ledger = book(tmp_path, None)
    spend_one_run(ledger, "first", 1.0, 2)
    spend_one_run(ledger, "second", 2.0, 2)
    sigmas = [calibrate(epsilon, 1e-5, 1, 2).sigma for epsilon in (1.0, 2.0)]
    after = ledger.entries()[-1].event.epsilon_after  # type: ignore[union-attr]
    assert after == lifetime_epsilon([(sigmas[0], 2), (sigmas[1], 2)], 1e-5)


def test_a_plan_that_costs_exactly_the_budget_fits(tmp_path: Path):
    plan = calibrate(1.0, 1e-5, 1, 4)
    cost = lifetime_epsilon([(plan.sigma, 4)], 1e-5)
    assert book(tmp_path / "a", cost).open_run("r", plan, "c", "noise", True)
    with pytest.raises(BudgetRefused):
        book(tmp_path / "b", math.nextafter(cost, 0)).open_run("r", plan, "c", "noise", True)


def test_spare_slots_are_paid_for_at_opening(tmp_path: Path):
    plan = calibrate(1.0, 1e-5, 1, 4)
    cost = lifetime_epsilon([(plan.sigma, 4)], 1e-5)
    with pytest.raises(BudgetRefused):
        book(tmp_path, cost).open_run("r", replace(plan, spare_slots=1), "c", "noise", True)
