"""The certificate states what the ledger says, and is not written for simulated noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spti_ray.dp.accounting import pld_epsilon
from spti_ray.dp.build import build, code_version
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.certificate import certificate
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger, record_evaluation
from spti_ray.dp.lifetime import lifetime_epsilon
from spti_ray.dp.mechanism import NoiseSource, OpenDPNoise, SeededNoise
from spti_ray.dp.storage import open_chain
from spti_ray.figures import at_least
from spti_ray.votes import Query, Votes

PLAN = calibrate(2.0, 1e-5, 1, 2, 1)


def run_gate(
    folder: Path, noise: NoiseSource, run: str = "run-1", generations: int = 2, burn: bool = False, plan=PLAN
) -> Ledger:
    """A run on dataset `stickers`; with `burn` its first reservation is given up."""
    ledger = Ledger(folder / "ledger", "stickers")
    ledger.register(20.0, 1e-5)
    gate = Gate(ledger, plan, run, folder / run / "generations", noise, "c0ffee", "group")
    gate.open()
    if burn:
        gate.burn(gate.reserve(0, "ab" * 32, ("g00-0", "g00-1")), "test")
    for generation in range(generations):
        reservation = gate.reserve(generation, "ab" * 32, ("g00-0", "g00-1"))
        votes = Votes(Query(run, generation, "ab" * 32), 0, np.array([3, 4]), 7)
        gate.measure(reservation, [votes], 1)
    return ledger


def certified(ledger: Ledger, run: str = "run-1", **given: Any) -> dict[str, Any]:
    document = certificate(ledger.entries(), run, **given)
    assert document is not None
    return json.loads(json.dumps(document, allow_nan=False))  # it is plain JSON


def test_simulated_noise_gets_no_certificate(tmp_path):
    assert certificate(run_gate(tmp_path, SeededNoise(1)).entries(), "run-1") is None


def test_an_attempt_with_simulated_noise_spoils_the_run_for_good(tmp_path):
    run_gate(tmp_path, SeededNoise(1), generations=1)
    ledger = Ledger(tmp_path / "ledger", "stickers")
    Gate(ledger, PLAN, "run-1", tmp_path / "run-1" / "generations", OpenDPNoise(), "c0ffee", "group").open()
    assert certificate(ledger.entries(), "run-1") is None


def test_engines_outside_the_cluster_that_saw_private_images_are_told_of_all_attempts(tmp_path):
    ledger = run_gate(tmp_path, OpenDPNoise())
    inside = certified(ledger)
    assert "engines_outside" not in inside and "all run inside the cluster" in inside["trust"]["trusted"]
    seer, other = "captioner seer at https://seer.example/v1", "captioner other at https://other.example/v1"
    for outside in (f"{seer}\n{other}", other):
        folder = tmp_path / "run-1" / "generations"
        Gate(ledger, PLAN, "run-1", folder, OpenDPNoise(), "c0ffee", "group", outside=outside).open()
    document = certified(ledger)
    assert document["engines_outside"] == [seer, other]
    assert "inside the cluster" not in document["trust"]["trusted"]
    assert seer in document["trust"]["trusted"] and "outside the cluster, see" in document["trust"]["release_model"]


def test_the_certificate_repeats_plan_and_ledger(tmp_path):
    ledger = run_gate(tmp_path, OpenDPNoise(), burn=True)
    document = certified(ledger)
    assert (document["unit"], document["relation"]) == ("group", "add/remove one group")
    assert (document["epsilon"], document["delta"]) == (2.0, 1e-5)
    assert document["achieved_epsilon"] == PLAN.achieved_epsilon
    assert document["replace_one_epsilon"] == PLAN.replace_one_epsilon
    mechanism = document["mechanism"]
    assert mechanism["sigma"] == PLAN.sigma and mechanism["candidates"] == 2
    assert [mechanism[key] for key in ("generations", "planned_generations", "spare_slots")] == [2, 2, 1]
    assert [mechanism[key] for key in ("queries_charged", "queries_planned", "burned_slots")] == [3, 3, 1]
    assert mechanism["epsilon_of_charged_queries"] == pld_epsilon([(PLAN.sigma, 3)], 1e-5)
    assert document["ledger"]["head"] == ledger.entries()[-1].hash
    assert document["dataset"]["runs"] == 1 and document["dataset"]["lifetime_epsilon"] == 20.0
    assert document["attacker"]["advantage"] == PLAN.attacker_advantage
    assert f"{100 * PLAN.attacker_advantage:.1f}" in document["attacker"]["in_words"]
    assert document["run"] == {"id": "run-1", "config_sha256": "c0ffee", "attempts": 1}


def test_the_certificate_names_the_build_that_drew_the_noise(tmp_path):
    document = certified(run_gate(tmp_path, OpenDPNoise()))
    assert document["noise"]["builds"] == [build()] and code_version() in build()
    assert "opendp" in document["noise"]["source"] and "OS entropy" in document["noise"]["source"]


def test_the_certificate_can_be_made_again_from_the_entries_alone(tmp_path):
    ledger = run_gate(tmp_path, OpenDPNoise())
    first, then = certified(ledger), len(ledger.entries())
    run_gate(tmp_path, OpenDPNoise(), run="run-2")
    assert json.loads(json.dumps(certificate(ledger.entries()[:then], "run-1"))) == first
    assert certified(ledger) != first, "later runs on the dataset show in a certificate that is made later"


def test_no_lifetime_figure_stands_when_another_run_simulated_its_noise(tmp_path):
    run_gate(tmp_path, SeededNoise(1), run="simulated")
    document = certified(run_gate(tmp_path, OpenDPNoise()))
    assert document["dataset"]["lifetime_epsilon_spent"] is None and document["tuning"]["total_epsilon"] is None
    assert [run["private"] for run in document["tuning"]["runs"]] == [False, True]


def test_tuning_lists_all_runs_on_the_dataset_and_their_total(tmp_path):
    run_gate(tmp_path, OpenDPNoise())
    other = calibrate(1.0, 1e-5, 1, 1)
    ledger = run_gate(tmp_path, OpenDPNoise(), run="run-2", generations=1, plan=other)
    tuning = certified(ledger)["tuning"]
    assert [(run["run"], run["epsilon"], run["queries_charged"]) for run in tuning["runs"]] == [
        ("run-1", 2.0, 2),
        ("run-2", 1.0, 1),
    ]
    total = lifetime_epsilon([(PLAN.sigma, 2), (other.sigma, 1)], 1e-5)
    assert tuning["total_epsilon"] == total and f"epsilon {at_least(total)} at" in tuning["in_words"]
    assert tuning["total_epsilon"] > max(run["epsilon_spent"] for run in tuning["runs"])


def test_a_look_with_a_private_metric_is_told_and_said_to_be_covered_by_no_figure(tmp_path):
    ledger = run_gate(tmp_path, OpenDPNoise())
    words = certified(ledger)["tuning"]["in_words"]
    assert "No private metric" in words
    # Nobody writes it again when somebody looks later, and it must stay true.
    assert words.startswith("As of the ledger head that this certificate names (what came later is in the ledger): 1 ")
    record_evaluation(open_chain(tmp_path / "ledger", "stickers"), "run-1", "FID, Inception")
    tuning = certified(ledger)["tuning"]
    assert tuning["runs"][0]["evaluated_by"] == ["FID, Inception"]
    assert "FID, Inception" in tuning["in_words"] and "neither" in tuning["in_words"]
    with pytest.raises(LedgerError, match="knows no run 'run-9'"):
        record_evaluation(open_chain(tmp_path / "ledger", "stickers"), "run-9", "FID")


def test_a_look_before_a_run_that_was_never_opened_is_told_as_one(tmp_path):
    ledger = run_gate(tmp_path, OpenDPNoise())
    ledger.record_unprotected_run("run-9", "spti check, 2026-01-01T00:00:00Z")
    ledger.record_unprotected_run("run-1", "spti check, 2026-01-02T00:00:00Z")
    tuning = certified(ledger)["tuning"]
    assert tuning["checks"] == [{"run": "run-9", "what": "spti check, 2026-01-01T00:00:00Z"}]
    assert "not_private_runs" not in tuning and "no protection at all" not in tuning["in_words"]
    assert "looked at by their owner 1 time(s) for no run" in tuning["in_words"]
    assert tuning["runs"][0]["evaluated_by"] == ["spti check, 2026-01-02T00:00:00Z"]


def test_audit_results_are_repeated_and_their_absence_is_said(tmp_path):
    ledger = run_gate(tmp_path, OpenDPNoise())
    assert "not run" in certified(ledger)["audits"]
    assert certified(ledger, audits={"passed": True})["audits"] == {"passed": True}


def test_the_certificate_tells_no_count_of_private_records(tmp_path):
    document = certified(run_gate(tmp_path, OpenDPNoise()))
    assert not {"num_records", "records", "n"} & set(map(str.lower, document))


def test_a_run_that_the_ledger_does_not_know_has_no_certificate(tmp_path):
    with pytest.raises(LedgerError, match="knows no run"):
        certificate(run_gate(tmp_path, OpenDPNoise()).entries(), "another")
