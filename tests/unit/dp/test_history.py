"""What the ledger's entries say happened: runs, slots, charges, and the odometer."""

from pathlib import Path

import pytest

from spti_ray.dp.accounting import pld_epsilon
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Burned, Entry, Reserved
from spti_ray.dp.history import charges, find_registration, history, slots_of
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.odometer import read_odometer
from tests.unit.dp.plans import PLAN


def test_each_run_is_told_in_the_order_of_its_first_opening(tmp_path: Path):
    ledger = Ledger(tmp_path, "ds")
    ledger.register(None, 1e-5)
    one, two = (ledger.open_run(name, PLAN, "c", "noise", True) for name in ("one", "two"))
    two.burn(two.reserve(0, "ab", 4, "v"), "test")
    again = ledger.open_run("one", PLAN, "c", "noise", True)
    again.commit(again.reserve(0, "cd", 4, "v"), "ef")
    del one
    first, second = history(ledger.entries())
    assert (first.run, first.attempts, first.queries_charged, first.committed, first.burned) == ("one", 2, 1, 1, 0)
    assert (second.run, second.attempts, second.queries_charged, second.committed, second.burned) == ("two", 1, 1, 0, 1)
    assert first.queries_planned == PLAN.slots and first.epsilon_spent == pld_epsilon([(PLAN.sigma, 1)], PLAN.delta)


def test_the_odometer_counts_a_charge_before_its_first_vote(tmp_path: Path):
    ledger = Ledger(tmp_path, "ds")
    ledger.register(4.0, 1e-5)
    lease = ledger.open_run("r", PLAN, "c", "noise", True)
    assert read_odometer(ledger.entries(), "r").epsilon == 0.0
    for generation in range(3):
        lease.reserve(generation, "ab", 4, "v")
        spend = read_odometer(ledger.entries(), "r")
        assert spend.queries == generation + 1 and spend.committed == 0
        assert spend.epsilon == pld_epsilon([(PLAN.sigma, generation + 1)], PLAN.delta)
        assert spend.lifetime_epsilon == spend.epsilon and spend.lifetime_budget == 4.0


def test_slots_out_of_order_are_refused():
    event = Reserved("r", 0, 1, 1, 1, 3.5, "ab", 4, "v0", 0.5)
    for wrong in (event, Burned("r", 0, 0, "x")):
        with pytest.raises(LedgerError, match="out of order"):
            slots_of([Entry(0, "", "t", wrong, "h")], "r")


def test_an_empty_ledger_has_no_registration_and_no_charges():
    assert find_registration([]) is None and charges([]) == [] and history([]) == []
    with pytest.raises(LedgerError, match="not registered"):
        read_odometer([], "r")
