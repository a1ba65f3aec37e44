"""A run that an earlier accountant planned goes on with its sigma, if that still keeps what was promised."""

import dataclasses

import pytest

from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.budget import BudgetRefused
from spti_ray.dp.calibration import calibrate, plan_at
from spti_ray.dp.certificate import certificate
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Opened, decode, encode
from spti_ray.dp.exact import exact_epsilon
from spti_ray.dp.gate import Gate
from spti_ray.dp.history import attempts_of
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import OpenDPNoise

DELTA = 1e-5
"""At which the library's transform and the exact figure agree; at 1e-12 its rounding depends on the CPU."""
PLAN = calibrate(2.0, DELTA, 7, 20, 3)


def sigma_of(epsilon):
    """The sigma at which the slots of `PLAN` cost just `epsilon`."""
    low, high = 0.9 * PLAN.sigma, 1.1 * PLAN.sigma
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if exact_epsilon(middle, 7 * 23, DELTA) > epsilon else (low, middle)
    return high


OLD_SIGMA = sigma_of(2.0000003)
"""Such as accountant 1 could take to keep epsilon 2."""


def opened_before(folder, sigma, accountant=1, budget=None):
    """A ledger in which an earlier build has opened the run `r`."""
    ledger = Ledger(folder, "ds")
    ledger.register(budget, DELTA)
    fields = {"sigma": sigma, "votes_per_record": 7, "generations": 20, "spare_slots": 3, "epsilon": 2.0}
    event = Opened("r", 1, "host", 7, delta=DELTA, config_sha256="c", noise="n", private=True, **fields)
    ledger._chain.append(lambda entries: dataclasses.replace(event, accountant=accountant))
    return ledger


def gate_of(ledger, folder):
    return Gate(ledger, PLAN, "r", folder / "generations", OpenDPNoise(), "c")


def test_an_old_run_over_by_less_than_a_millionth_goes_on_and_says_so(tmp_path):
    ledger = opened_before(tmp_path, OLD_SIGMA)
    gate = gate_of(ledger, tmp_path)
    gate.open()
    assert gate.plan.sigma == OLD_SIGMA != PLAN.sigma
    assert "2.0000003" in gate.note and "over by less than 1e-06" in gate.note and "\n" not in gate.note
    last = attempts_of(ledger.entries(), "r")[-1]
    assert (last.attempt, last.sigma, last.accountant) == (2, OLD_SIGMA, ACCOUNTANT)
    assert gate.reserve(0, "ab", [str(i) for i in range(9)]).entry.sigma == OLD_SIGMA
    # What its certificate promises is what holds, not what was planned.
    document = certificate(ledger.entries(), "r")
    assert document["epsilon"] == document["achieved_epsilon"] > 2.0
    assert document["statement"].startswith("This release is (2.00001, 1e-05)")


def test_an_old_run_with_more_noise_than_needed_goes_on_with_it(tmp_path):
    ledger = opened_before(tmp_path, 1.1 * PLAN.sigma)
    gate = gate_of(ledger, tmp_path)
    gate.open()
    assert gate.plan.sigma == 1.1 * PLAN.sigma and gate.plan.achieved_epsilon < 2.0
    assert "it goes on with that sigma" in gate.note and "over" not in gate.note


def test_an_old_run_that_is_over_by_more_is_refused_with_the_reason(tmp_path):
    ledger = opened_before(tmp_path, 24.0)
    with pytest.raises(
        LedgerError, match=r"sigma 24 \(accounting version 1\), for which version 2 certifies epsilon 2\."
    ):
        gate_of(ledger, tmp_path).open()
    assert len(ledger.entries()) == 2, "nothing was written"


def test_an_old_run_fits_the_budget_that_it_was_planned_for(tmp_path):
    ledger = opened_before(tmp_path, OLD_SIGMA, budget=2.0)
    gate = gate_of(ledger, tmp_path)
    gate.open()
    lease = gate._open_lease()
    for generation in range(23):
        lease.burn(lease.reserve(generation, "ab", 9, "v"), "x")
    assert gate.odometer_reading().lifetime_epsilon > 2.0
    # A new run has no such grace.
    with pytest.raises(BudgetRefused):
        ledger.open_run("new", calibrate(0.01, DELTA, 1, 1), "c", "n", True)


def test_a_run_of_the_same_accountant_is_held_to_its_sigma(tmp_path):
    ledger = opened_before(tmp_path, OLD_SIGMA, accountant=ACCOUNTANT)
    with pytest.raises(LedgerError, match="sigma"):
        gate_of(ledger, tmp_path).open()


def test_a_line_without_accountant_is_of_the_first():
    import hashlib
    import json

    from spti_ray.dp.entries import GENESIS, _canonical

    event = Opened("r", 1, "host", 7, 3.5, 1, 2, 0, 1.0, 1e-5, "cc", "noise", True)
    body = json.loads(encode(0, GENESIS, "t", dataclasses.replace(event, accountant=2)))
    assert body.pop("accountant") == 2
    del body["hash"]
    line = _canonical(body | {"hash": hashlib.sha256(_canonical(body)).hexdigest()})
    assert decode(line).event == event and event.accountant == 1


def test_a_new_run_has_nothing_to_say(tmp_path):
    ledger = Ledger(tmp_path, "ds")
    ledger.register(None, 1e-5)
    plan = plan_at(8.0, 1.0, 1e-5, 1, 3, 1)
    assert ledger.open_run("r", plan, "c", "n", True).note == ""
    assert ledger.open_run("r", plan, "c", "n", True).note == ""
