"""Runs that are not private: no noise, no charge, and told by every certificate from then on."""

import json

import numpy as np
import pytest

from spti_ray.cli.ledger_report import history_lines, verify_line
from spti_ray.dp.aggregation import GateError
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.certificate import certificate
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.history import UNCERTIFIED
from spti_ray.dp.ledger import Ledger, record_evaluation
from spti_ray.dp.odometer import lifetime_spent, read_odometer
from spti_ray.dp.storage import open_chain
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.votes import Votes

DELTA = 1e-5
PLAN = calibrate(1.0, DELTA, 1, 2, 0)
IDS = ("a", "b", "c")
WHAT = "spti without noise (epsilon inf)"


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger", "toys")
    ledger.register(10.0, DELTA)
    return ledger


def gate_of(ledger, tmp_path, run="open-run"):
    return UnnoisedGate(ledger, run, tmp_path / "internal" / "generations", 1, WHAT)


def votes(reservation, shard, counts):
    return Votes(reservation.query, shard, np.array(counts, dtype=np.int64), max_total=sum(counts))


def test_the_sum_is_the_clean_one_and_is_found_again(ledger, tmp_path):
    gate = gate_of(ledger, tmp_path)
    gate.open()
    reservation = gate.reserve(0, "ab" * 32, IDS)
    histogram = gate.measure(reservation, [votes(reservation, 0, [3, 0, 1]), votes(reservation, 1, [1, 2, 0])], 2)
    assert histogram.counts_K.tolist() == [4, 2, 1] and histogram.sigma == 0.0
    again = gate_of(ledger, tmp_path).committed(0)
    assert again is not None and again.counts_K.tolist() == [4, 2, 1] and again.candidate_ids == IDS
    assert gate.committed(1) is None and gate.slots_left() > 0 and gate.odometer_reading() is None


def test_votes_are_checked_as_ever(ledger, tmp_path):
    gate = gate_of(ledger, tmp_path)
    reservation = gate.reserve(0, "ab" * 32, IDS)
    with pytest.raises(GateError, match="sent no votes"):
        gate.measure(reservation, [votes(reservation, 0, [1, 0, 0])], 2)


def test_nothing_is_charged_and_the_look_is_recorded_once_before_the_first_vote(ledger, tmp_path):
    before = ledger.entries()
    for _ in range(3):  # A run that is started again.
        gate_of(ledger, tmp_path).open()
    entries = ledger.entries()
    assert [entry.kind for entry in entries] == [*(entry.kind for entry in before), "EVALUATED"]
    assert entries[-1].event.metric == f"NOT PRIVATE: {WHAT}" and entries[-1].event.run == "open-run"
    assert lifetime_spent(entries) == 0.0
    gate = gate_of(ledger, tmp_path)
    reservation = gate.reserve(0, "ab" * 32, IDS)
    gate.measure(reservation, [votes(reservation, 0, [3, 0, 1])], 1)
    assert len(ledger.entries()) == len(entries)


def test_it_needs_a_registered_dataset(tmp_path):
    with pytest.raises(LedgerError, match="not registered"):
        gate_of(Ledger(tmp_path / "ledger", "toys"), tmp_path).open()


def test_certificates_of_later_runs_tell_it_and_the_composition_is_as_before(ledger, tmp_path):
    ledger.open_run("first", PLAN, "c", "n", True).reserve(0, "ab", 4, "v")
    plain = certificate(ledger.entries(), "first")
    gate_of(ledger, tmp_path).open()
    ledger.open_run("second", PLAN, "c", "n", True).reserve(0, "ab", 4, "v")
    told = certificate(ledger.entries(), "second")
    assert "not_private_runs" not in plain["tuning"], "certificates from before have no such field, and verify"
    assert told["tuning"]["not_private_runs"] == [{"run": "open-run", "what": f"NOT PRIVATE: {WHAT}"}]
    assert "no protection at all" in told["tuning"]["in_words"] and WHAT in told["tuning"]["in_words"]
    assert told["epsilon"] == plain["epsilon"] and told["tuning"]["total_epsilon"] is not None
    assert [run["run"] for run in told["tuning"]["runs"]] == ["first", "second"]
    spend = read_odometer(ledger.entries(), "second")
    assert spend.queries == 1 and len(spend.runs) == 2 and spend.lifetime_private
    json.dumps(told, allow_nan=False)


def test_what_has_no_certificate_is_told_apart_from_what_is_not_private(ledger, tmp_path):
    ledger.record_unprotected_run("closed-run", f"dp-finetune at epsilon 1{UNCERTIFIED}")
    ledger.open_run("first", PLAN, "c", "n", True).reserve(0, "ab", 4, "v")
    tuning = certificate(ledger.entries(), "first")["tuning"]
    assert tuning["uncertified_runs"] == [{"run": "closed-run", "what": "dp-finetune at epsilon 1, uncertified"}]
    assert "not_private_runs" not in tuning and "no protection at all" not in tuning["in_words"]
    assert "have no certificate" in tuning["in_words"] and "dp-finetune at epsilon 1" in tuning["in_words"]
    gate_of(ledger, tmp_path).open()
    tuning = certificate(ledger.entries(), "first")["tuning"]
    assert [run["run"] for run in tuning["not_private_runs"]] == ["open-run"]
    assert [run["run"] for run in tuning["uncertified_runs"]] == ["closed-run"]


def test_the_ledgers_views_know_of_it(ledger, tmp_path):
    gate_of(ledger, tmp_path).open()
    chain = open_chain(tmp_path / "ledger", "toys")
    assert any("open-run" in line and "NOT PRIVATE" in line for line in history_lines(chain))
    assert ": ok, 2 entries" in verify_line(chain)
    record_evaluation(chain, "open-run", "FID")
    with pytest.raises(LedgerError, match="knows no run"):
        record_evaluation(chain, "another", "FID")
