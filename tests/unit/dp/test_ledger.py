"""The ledger's decisions, in a local folder and in a bucket: states, slots, fencing, and the budget at each charge."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spti_ray.dp.accounting import SMALLEST_DELTA
from spti_ray.dp.budget import BudgetRefused
from spti_ray.dp.calibration import NoisePlan, calibrate
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Committed, Evaluated, Opened, Released, Reserved
from spti_ray.dp.history import charges, slots_of
from spti_ray.dp.lease import FencedOut, Lease, SlotsExhausted
from spti_ray.dp.ledger import Ledger, NotRegistered, NotRegistrable, record_evaluation
from spti_ray.dp.lifetime import lifetime_epsilon
from spti_ray.dp.storage import open_chain
from tests.unit.dp.books import Book, FileBook, ObjectBook, lines_of
from tests.unit.dp.plans import PLAN

Place = str | Path


def spent(queries: int) -> float:
    return lifetime_epsilon([(PLAN.sigma, queries)], PLAN.delta)


def ledger(place: Place, lifetime_epsilon: float | None = None) -> Ledger:
    made = Ledger(place, "ds")
    made.register(lifetime_epsilon, PLAN.delta)
    return made


def opened(of: Ledger, run: str = "run", plan: NoisePlan = PLAN) -> Lease:
    return of.open_run(run, plan, "config", "noise", True)


def kinds(of: Ledger) -> list[str]:
    return [entry.kind for entry in of.entries()]


def test_a_query_goes_through_its_states(place: Place):
    book = ledger(place)
    lease = opened(book)
    reserved = lease.reserve(0, "ab", 4, "v0")
    lease.commit(reserved, "ef")
    lease.release(reserved)
    lease.release(reserved)
    assert kinds(Ledger(place, "ds")) == ["REGISTERED", "OPENED", "RESERVED", "COMMITTED", "RELEASED"]
    (slot,) = slots_of(book.entries(), "run")
    assert slot.released and slot.artifact_sha256 == "ef" and not slot.open and not slot.burned


def test_all_runs_on_a_dataset_protect_one_unit(place: Place):
    book = ledger(place)
    book.open_run("one", PLAN, "config", "noise", True, "group (patient)")
    for other in ("record", "group (visit)"):
        with pytest.raises(LedgerError, match=r"earlier runs protect each group \(patient\), this one would protect"):
            book.open_run("two", PLAN, "config", "noise", True, other)
    assert kinds(book) == ["REGISTERED", "OPENED"]
    book.open_run("two", PLAN, "config", "noise", True, "group (patient)")


def test_a_charge_is_never_refunded(place: Place):
    book = ledger(place)
    lease = opened(book)
    first = lease.reserve(0, "ab", 4, "v0")
    assert first.epsilon_after == spent(1)
    lease.burn(first, "crash")
    again = lease.reserve(0, "ab", 4, "v0")
    assert (again.slot, again.epsilon_after) == (1, spent(2))
    assert charges(book.entries()) == [(PLAN.sigma, 1), (PLAN.sigma, 1)]


def test_a_burned_or_committed_slot_is_final(place: Place):
    lease = opened(ledger(place))
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


def test_a_run_makes_no_more_queries_than_planned(place: Place):
    lease = opened(ledger(place))
    for generation in range(PLAN.slots):
        lease.reserve(generation, "ab", 4, "v0")
    with pytest.raises(SlotsExhausted, match=f"all {PLAN.slots} queries"):
        lease.reserve(9, "ab", 4, "v0")


def test_an_older_attempt_is_fenced_out_of_every_append(book: Book):
    old = opened(ledger(book.location))
    reserved = old.reserve(0, "ab", 4, "v0")
    new = opened(Ledger(book.location, "ds"))
    assert (old.attempt, new.attempt) == (1, 2)
    before = book.lines()
    appends: list[Callable[[], object]] = [
        lambda: old.reserve(1, "ab", 4, "v0"),
        lambda: old.burn(reserved, "x"),
        lambda: old.commit(reserved, "ef"),
        lambda: old.release(reserved),
        lambda: old.check_open(reserved),
    ]
    for append in appends:
        with pytest.raises(FencedOut, match="taken over by attempt 2"):
            append()
    assert book.lines() == before
    new.commit(reserved, "ef")


def test_no_two_drivers_write_the_same_opening(place: Place, monkeypatch: pytest.MonkeyPatch):
    """In a bucket, who finds its own bytes in its place takes them for its own: two containers may share all else."""
    monkeypatch.setattr("spti_ray.dp.ledger.os.getpid", lambda: 1)
    monkeypatch.setattr("spti_ray.dp.ledger.socket.gethostname", lambda: "container")
    book = ledger(place)
    opened(book)
    opened(book)
    tokens = [entry.event.token for entry in book.entries() if isinstance(entry.event, Opened)]
    assert len(set(tokens)) == 2 and all(len(token) >= 16 for token in tokens)


def test_two_runs_on_a_dataset_interleave_and_add_up(place: Place):
    book = ledger(place)
    one, two = opened(book, "one"), opened(Ledger(place, "ds"), "two", replace(PLAN, sigma=5.0))
    one.reserve(0, "ab", 4, "v0")
    two.reserve(0, "cd", 4, "v0")
    last = one.reserve(1, "ef", 4, "v0")
    assert last.epsilon_after == lifetime_epsilon([(PLAN.sigma, 2), (5.0, 1)], PLAN.delta)
    assert [slot.reserved.slot for slot in slots_of(book.entries(), "one")] == [0, 1]
    assert [slot.reserved.candidates_sha256 for slot in slots_of(book.entries(), "two")] == ["cd"]
    assert charges(book.entries(), "two") == [(5.0, 1)]


def test_a_plan_that_costs_exactly_the_lifetime_budget_fits(place: Place):
    book = ledger(place, lifetime_epsilon=spent(PLAN.slots))
    lease = opened(book)
    for generation in range(PLAN.slots):
        lease.reserve(generation, "ab", 4, "v0")
    opened(book)  # nothing is left to pay for
    with pytest.raises(BudgetRefused):
        opened(book, "another")


def test_a_run_that_cant_be_paid_in_full_is_refused_before_it_opens(place: Place):
    book = ledger(place, lifetime_epsilon=math.nextafter(spent(PLAN.slots), 0))
    with pytest.raises(BudgetRefused, match="does not cover this run"):
        opened(book)
    assert kinds(book) == ["REGISTERED"]


def test_the_budget_is_checked_again_at_each_charge(place: Place):
    book = ledger(place, lifetime_epsilon=spent(PLAN.slots + 1))
    one, two = opened(book, "one"), opened(book, "two")  # each fits alone
    for generation in range(PLAN.slots):
        one.reserve(generation, "ab", 4, "v0")
    two.reserve(0, "ab", 4, "v0")
    before = kinds(book)
    with pytest.raises(BudgetRefused, match="does not cover one more query"):
        two.reserve(1, "ab", 4, "v0")
    assert kinds(book) == before


def test_burned_charges_count_against_the_budget(place: Place):
    book = ledger(place, lifetime_epsilon=spent(PLAN.slots))
    lease = opened(book)
    lease.burn(lease.reserve(0, "ab", 4, "v0"), "crash")
    with pytest.raises(BudgetRefused):
        opened(book, "another")


def test_the_registered_budget_rules(place: Place):
    book = ledger(place, lifetime_epsilon=4.0)
    assert book.register(4.0, 1e-3).delta == PLAN.delta
    with pytest.raises(LedgerError, match=r"registered with lifetime_epsilon 4.0, but the configuration says 8.0"):
        book.register(8.0, PLAN.delta)
    assert book.register(None, PLAN.delta).lifetime_epsilon == 4.0, "naming no budget does not lift the registered one"
    unlimited = Ledger(place, "unlimited")
    unlimited.register(None, PLAN.delta)
    with pytest.raises(LedgerError, match=r"registered with lifetime_epsilon no limit, but the configuration says 4.0"):
        unlimited.register(4.0, PLAN.delta)


def test_an_id_that_must_exist_is_not_registered_by_asking(book: Book):
    with pytest.raises(NotRegistered, match="dataset 'ds' is not registered in .*: spti ledger register ds"):
        Ledger(book.location, "ds").register(4.0, PLAN.delta, must_exist=True)
    assert book.lines() == []
    ledger(book.location, 4.0)
    assert Ledger(book.location, "ds").register(4.0, PLAN.delta, must_exist=True).lifetime_epsilon == 4.0


def test_a_ledger_belongs_to_its_dataset(book: Book):
    ledger(book.location)
    if isinstance(book, FileBook):
        book.path.rename(book.path.with_name("other.jsonl"))
    elif isinstance(book, ObjectBook):
        book.store.rename("ds/000000000000.json", "other/000000000000.json")
    with pytest.raises(LedgerError, match="is of dataset 'ds'"):
        Ledger(book.location, "other").register(None, PLAN.delta)
    with pytest.raises(NotRegistered, match="not registered"):
        opened(Ledger(book.location, "third"))


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
        opened(book, plan=replace(PLAN, **change))  # type: ignore[arg-type]


def test_entries_name_who_opened_and_what_was_asked(place: Place):
    book = ledger(place)
    book.open_run("run", PLAN, "config", "noise", True, unit="patient", build="spti-ray 1").reserve(2, "ab", 4, "v0")
    _, opening, reservation = (entry.event for entry in Ledger(place, "ds").entries())
    assert isinstance(opening, Opened) and isinstance(reservation, Reserved)
    assert (opening.attempt, opening.config_sha256, opening.noise, opening.private) == (1, "config", "noise", True)
    assert (opening.unit, opening.build) == ("patient", "spti-ray 1")
    assert (reservation.generation, reservation.attempt, reservation.slot) == (2, 1, 0)
    assert (reservation.candidates_sha256, reservation.num_candidates, reservation.code_version) == ("ab", 4, "v0")


def test_an_evaluation_is_noted_for_a_known_run_only(place: Place):
    book = ledger(place)
    opened(book)
    record_evaluation(open_chain(place, "ds"), "run", "fid")
    assert book.entries()[-1].event == Evaluated("run", "fid")
    with pytest.raises(LedgerError, match="knows no run 'ruin'"):
        record_evaluation(open_chain(place, "ds"), "ruin", "fid")


def test_an_outsiders_commit_does_not_make_a_slot_that_was_never_reserved(book: Book):
    """A valid chain may still tell nonsense; reading it as slots says so."""
    events = [entry.event for entry in _opened_entries(book)]
    book.rewrite(lines_of([*events, Committed("run", 0, 0, "ef"), Released("run", 0, 0, "ef")]))
    with pytest.raises(LedgerError, match="slot 0 of run 'run' is out of order"):
        opened(Ledger(book.location, "ds"))


def _opened_entries(book: Book):
    made = ledger(book.location)
    opened(made)
    return made.entries()


@pytest.mark.parametrize("delta", [1e-300, 1e-20, 9.9e-15, 0.0, -1e-5, 0.5, 1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("budget", [None, 4.0])
def test_a_delta_at_which_nothing_can_be_certified_is_never_registered(book: Book, delta: float, budget: float | None):
    with pytest.raises(NotRegistrable, match=r"^dataset 'ds' can't be registered: delta must be in \[1e-14, 0\.5\)"):
        Ledger(book.location, "ds").register(budget, delta)
    assert Ledger(book.location, "ds").entries() == []


@pytest.mark.parametrize("budget", [1e-9, 1e-300, float("inf"), float("nan")])
def test_a_budget_that_no_query_fits_is_never_registered(book: Book, budget: float):
    with pytest.raises(NotRegistrable, match="lifetime epsilon"):
        Ledger(book.location, "ds").register(budget, 1e-5)
    assert Ledger(book.location, "ds").entries() == []


def test_whatever_can_be_registered_can_be_planned_for(book: Book):
    made = Ledger(book.location, "ds")
    made.register(1.0, SMALLEST_DELTA)
    plan = calibrate(0.3, SMALLEST_DELTA, 1, 2)
    assert made.open_run("r", plan, "c", "n", True).plan == plan
