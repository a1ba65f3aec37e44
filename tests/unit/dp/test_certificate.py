"""The certificate states what plan and ledger say, and is not written for simulated noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spti_ray.config_load import load_config
from spti_ray.dp.accounting import calibrate
from spti_ray.dp.certificate import certificate
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import OpenDPNoise, SeededNoise
from spti_ray.types import Votes

CONFIG = load_config(Path(__file__).parents[3] / "jobs" / "stickers.yaml", ["evolution.generations=2"])
PLAN = calibrate(2.0, 1e-5, 1, 2)


def _spend(folder: Path, noise):
    ledger = Ledger(folder / "ledger", "stickers")
    ledger.register(20.0, 1e-5)
    gate = Gate(ledger, PLAN, "run-1", folder / "generations", noise, "test")
    gate.open()
    for generation in range(2):
        reservation = gate.reserve(generation, "ab" * 32, ("g00-0", "g00-1"))
        gate.measure(reservation, [Votes(0, "ab" * 32, np.array([3, 4]), 7)], 1)
    return gate.spent()


def test_simulated_noise_gets_no_certificate(tmp_path):
    assert certificate(CONFIG, PLAN, _spend(tmp_path, SeededNoise(1)), 2) is None


def test_the_certificate_repeats_plan_and_ledger(tmp_path):
    spend = _spend(tmp_path, OpenDPNoise())
    document = certificate(CONFIG, PLAN, spend, 2)
    assert document is not None
    assert (document["epsilon"], document["delta"]) == (2.0, 1e-5)
    assert document["achieved_epsilon"] == PLAN.achieved_epsilon == pytest.approx(spend.epsilon)
    assert document["replace_one_epsilon"] == PLAN.replace_one_epsilon
    assert document["mechanism"]["sigma"] == PLAN.sigma and document["mechanism"]["queries_charged"] == 2
    assert document["ledger"]["head"] == spend.ledger_head
    assert document["dataset"]["runs"] == 1 and document["dataset"]["lifetime_epsilon"] == 20.0
    assert document["attacker"]["advantage"] == PLAN.attacker_advantage
    assert f"{100 * PLAN.attacker_advantage:.1f}" in document["attacker"]["in_words"]


def test_no_lifetime_figure_stands_when_another_run_simulated_its_noise(tmp_path):
    spend = replace(_spend(tmp_path, OpenDPNoise()), lifetime_private=False)
    document = certificate(CONFIG, PLAN, spend, 2)
    assert document is not None and document["dataset"]["lifetime_epsilon_spent"] is None


def test_the_certificate_tells_no_count_of_private_records(tmp_path):
    document = certificate(CONFIG, PLAN, _spend(tmp_path, OpenDPNoise()), 2)
    assert document is not None and not {"num_records", "records", "n"} & set(map(str.lower, document))
