import math
from dataclasses import replace
from pathlib import Path

import pytest

from spti_ray.dp.accounting import NoisePlan, pld_epsilon
from spti_ray.dp.entries import Opened, Reserved
from spti_ray.dp.ledger import (
    BudgetRefused,
    FencedOut,
    Lease,
    Ledger,
    LedgerError,
    SlotsExhausted,
    charges,
    slots_of,
    verify,
)

DELTA = 1e-5
PLAN = NoisePlan(
    sigma=8.0,
    epsilon=1.0,
    delta=DELTA,
    achieved_epsilon=0.9,
    replace_one_epsilon=1.4,
    votes_per_record=1,
    generations=3,
    spare_slots=1,
    attacker_advantage=0.2,
)


def spent(queries: int, sigma: float = PLAN.sigma) -> float:
    return pld_epsilon([(sigma, queries)], DELTA)


def ledger(folder: Path, lifetime_epsilon: float | None = None) -> Ledger:
    made = Ledger(folder, "ds")
    made.register(lifetime_epsilon, DELTA)
    return made


def opened(of: Ledger, run: str = "run", plan: NoisePlan = PLAN) -> Lease:
    return of.open_run(run, plan, "config", "noise", True)


def test_a_query_goes_through_its_states(tmp_path: Path):
    book = ledger(tmp_path)
    lease = opened(book)
    reserved = lease.reserve(0, "ab", 4, "v0")
    lease.commit(reserved, "ef")
    lease.release(reserved)
    lease.release(reserved)
    kinds = [entry.kind for entry in verify(tmp_path / "ds.jsonl")]
    assert kinds == ["REGISTERED", "OPENED", "RESERVED", "COMMITTED", "RELEASED"]
    (slot,) = slots_of(book.entries(), "run")
    assert slot.released and slot.artifact_sha256 == "ef" and not slot.open and not slot.burned


def test_a_charge_is_never_refunded(tmp_path: Path):
    book = ledger(tmp_path)
    lease = opened(book)
    first = lease.reserve(0, "ab", 4, "v0")
    assert first.epsilon_after == spent(1)
    lease.burn(first, "crash")
    again = lease.reserve(0, "ab", 4, "v0")
    assert (again.slot, again.epsilon_after) == (1, spent(2))
    assert charges(book.entries()) == [(8.0, 1), (8.0, 1)]


def test_a_burned_or_committed_slot_is_final(tmp_path: Path):
    lease = opened(ledger(tmp_path))
    burned, committed = lease.reserve(0, "ab", 4, "v0"), lease.reserve(1, "cd", 4, "v0")
    with pytest.raises(LedgerError, match="no committed histogram"):
        lease.release(burned)
    lease.burn(burned, "crash")
    lease.commit(committed, "ef")
    for reserved in (burned, committed):
        with pytest.raises(LedgerError, match="not an open reservation"):
            lease.commit(reserved, "01")
        with pytest.raises(LedgerError, match="not an open reservation"):
            lease.burn(reserved, "again")
    with pytest.raises(LedgerError, match="generation 1 of run 'run' is already reserved"):
        lease.reserve(1, "cd", 4, "v0")
    with pytest.raises(LedgerError, match="not an open reservation"):
        lease.check_open(replace(burned, slot=9))


def test_a_run_makes_no_more_queries_than_planned(tmp_path: Path):
    lease = opened(ledger(tmp_path))
    for generation in range(PLAN.slots):
        lease.reserve(generation, "ab", 4, "v0")
    with pytest.raises(SlotsExhausted, match="all 4 queries"):
        lease.reserve(9, "ab", 4, "v0")


def test_an_older_attempt_is_fenced_out_of_every_append(tmp_path: Path):
    book = ledger(tmp_path)
    old = opened(book)
    reserved = old.reserve(0, "ab", 4, "v0")
    new = opened(Ledger(tmp_path, "ds"))
    assert (old.attempt, new.attempt) == (1, 2)
    before = (tmp_path / "ds.jsonl").read_bytes()
    for append in (
        lambda: old.reserve(1, "ab", 4, "v0"),
        lambda: old.burn(reserved, "x"),
        lambda: old.commit(reserved, "ef"),
        lambda: old.release(reserved),
        lambda: old.check_open(reserved),
    ):
        with pytest.raises(FencedOut, match="taken over by attempt 2"):
            append()
    assert (tmp_path / "ds.jsonl").read_bytes() == before
    new.commit(reserved, "ef")


def test_two_runs_on_a_dataset_interleave_and_add_up(tmp_path: Path):
    book = ledger(tmp_path)
    one, two = opened(book, "one"), opened(Ledger(tmp_path, "ds"), "two", replace(PLAN, sigma=5.0))
    one.reserve(0, "ab", 4, "v0")
    two.reserve(0, "cd", 4, "v0")
    last = one.reserve(1, "ef", 4, "v0")
    assert last.epsilon_after == pld_epsilon([(8.0, 2), (5.0, 1)], DELTA)
    assert [slot.reserved.slot for slot in slots_of(book.entries(), "one")] == [0, 1]
    assert [slot.reserved.candidates_sha256 for slot in slots_of(book.entries(), "two")] == ["cd"]
    assert charges(book.entries(), "two") == [(5.0, 1)]


def test_a_plan_that_costs_exactly_the_lifetime_budget_fits(tmp_path: Path):
    book = ledger(tmp_path, lifetime_epsilon=spent(4))
    lease = opened(book)
    for generation in range(4):
        lease.reserve(generation, "ab", 4, "v0")
    opened(book)  # nothing is left to pay for
    with pytest.raises(BudgetRefused):
        opened(book, "another")


def test_a_run_that_cant_be_paid_in_full_is_refused_before_it_opens(tmp_path: Path):
    book = ledger(tmp_path, lifetime_epsilon=math.nextafter(spent(4), 0))
    with pytest.raises(BudgetRefused, match="does not cover 4 more queries at sigma 8, only 3; lower"):
        opened(book)
    assert [entry.kind for entry in book.entries()] == ["REGISTERED"]


def test_the_budget_is_checked_again_at_each_charge(tmp_path: Path):
    book = ledger(tmp_path, lifetime_epsilon=spent(5))
    one, two = opened(book, "one"), opened(book, "two")  # each fits alone
    for generation in range(4):
        one.reserve(generation, "ab", 4, "v0")
    two.reserve(0, "ab", 4, "v0")
    before = len(book.entries())
    with pytest.raises(BudgetRefused, match="only 0"):
        two.reserve(1, "ab", 4, "v0")
    assert len(book.entries()) == before


def test_burned_charges_count_against_the_budget(tmp_path: Path):
    book = ledger(tmp_path, lifetime_epsilon=spent(4))
    lease = opened(book)
    lease.burn(lease.reserve(0, "ab", 4, "v0"), "crash")
    with pytest.raises(BudgetRefused, match="only 3"):
        opened(book, "another")


def test_the_registered_budget_rules(tmp_path: Path):
    book = ledger(tmp_path, lifetime_epsilon=4.0)
    assert book.register(4.0, 1e-3).delta == DELTA
    with pytest.raises(LedgerError, match=r"registered with lifetime_epsilon 4.0, but the configuration says 8.0"):
        book.register(8.0, DELTA)
    assert book.register(None, DELTA).lifetime_epsilon == 4.0, "naming no budget does not lift the registered one"
    unlimited = Ledger(tmp_path, "unlimited")
    unlimited.register(None, DELTA)
    with pytest.raises(LedgerError, match=r"registered with lifetime_epsilon no limit, but the configuration says 4.0"):
        unlimited.register(4.0, DELTA)


def test_a_ledger_belongs_to_its_dataset(tmp_path: Path):
    ledger(tmp_path)
    (tmp_path / "ds.jsonl").rename(tmp_path / "other.jsonl")
    with pytest.raises(LedgerError, match="is of dataset 'ds'"):
        Ledger(tmp_path, "other").register(None, DELTA)
    with pytest.raises(LedgerError, match="not registered"):
        opened(Ledger(tmp_path, "third"))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"epsilon": 2.0}, "privacy.epsilon 1.0, not 2.0"),
        ({"delta": 1e-6}, "privacy.delta"),
        ({"votes_per_record": 2}, "privacy.votes_per_record"),
        ({"generations": 4}, "evolution.generations"),
        ({"spare_slots": 0}, "privacy.spare_slots"),
        ({"sigma": 7.0}, "sigma"),
    ],
)
def test_a_resumed_run_may_not_change_its_plan(tmp_path: Path, change: dict[str, float], name: str):
    book = ledger(tmp_path)
    opened(book)
    with pytest.raises(LedgerError, match=name):
        opened(book, plan=replace(PLAN, **change))  # pyright: ignore[reportArgumentType]


def test_entries_name_who_opened_and_what_was_asked(tmp_path: Path):
    book = ledger(tmp_path)
    opened(book).reserve(2, "ab", 4, "v0")
    _, opening, reservation = (entry.event for entry in book.entries())
    assert isinstance(opening, Opened) and isinstance(reservation, Reserved)
    assert (opening.attempt, opening.config_sha256, opening.noise, opening.private) == (1, "config", "noise", True)
    assert (reservation.generation, reservation.attempt, reservation.slot) == (2, 1, 0)
    assert (reservation.candidates_sha256, reservation.num_candidates, reservation.code_version) == ("ab", 4, "v0")


def test_a_torn_charge_is_dropped_because_no_vote_was_cast_for_it(tmp_path: Path):
    book = ledger(tmp_path)
    lease = opened(book)
    with open(tmp_path / "ds.jsonl", "ab") as file:
        file.write(b'{"attempt":1,"cand')
    assert len(book.entries()) == 2
    assert lease.reserve(0, "ab", 4, "v0").slot == 0
    assert len(verify(tmp_path / "ds.jsonl")) == 3
