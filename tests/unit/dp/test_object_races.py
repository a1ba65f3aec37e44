"""A chain in a bucket, other writers, and requests whose answer never comes."""

from collections.abc import Sequence

import pytest
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import ObjectStore

from spti_ray.dp import object_chain, object_store
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Entry, Event
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.storage import open_chain
from tests.s3 import S3Server
from tests.unit.dp.books import EVENTS, OURS, THEIRS, ObjectBook, append_all, chain_of
from tests.unit.dp.plans import PLAN

pytestmark = pytest.mark.usefixtures("hurry")


def test_who_loses_the_race_for_a_number_decides_again(memory: ObjectStore):
    append_all(chain_of(memory), EVENTS)
    seen: list[int] = []

    def decide(entries: Sequence[Entry]) -> Event:
        seen.append(len(entries))
        if len(seen) < 4:
            chain_of(memory).append(lambda _: THEIRS)  # somebody is quicker, three times
        return OURS

    entries = chain_of(memory).append(decide)
    assert seen == [6, 7, 8, 9]
    assert [entry.event for entry in entries][6:] == [THEIRS, THEIRS, THEIRS, OURS]
    assert chain_of(memory).read().entries == entries


def test_who_loses_the_race_may_find_that_there_is_nothing_left_to_do(memory: ObjectStore):
    append_all(chain_of(memory), EVENTS)

    def decide(entries: Sequence[Entry]) -> Event | None:
        if len(entries) > len(EVENTS):
            return None
        chain_of(memory).append(lambda _: THEIRS)
        return OURS

    assert chain_of(memory).append(decide)[-1].event == THEIRS


def test_who_always_loses_gives_up_in_one_line(memory: ObjectStore):
    append_all(chain_of(memory), EVENTS)

    def decide(entries: Sequence[Entry]) -> Event:
        chain_of(memory).append(lambda _: THEIRS)
        return OURS

    with pytest.raises(LedgerError, match="others were quicker 30 times; nothing was recorded, run again"):
        chain_of(memory).append(decide)
    assert OURS not in [entry.event for entry in chain_of(memory).read().entries]


def test_a_conflict_after_which_the_number_is_still_free_is_tried_again(
    memory: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    chain, create = chain_of(memory), object_store.create
    append_all(chain, EVENTS)
    answers = iter([AlreadyExistsError("409 ConditionalRequestConflict")])

    def conflicts_once(store: ObjectStore, name: str, data: bytes) -> str:
        for answer in answers:
            raise answer
        return create(store, name, data)

    monkeypatch.setattr(object_chain, "create", conflicts_once)
    assert chain.append(lambda _: OURS)[-1].event == OURS
    assert len(chain_of(memory).read().entries) == len(EVENTS) + 1


def test_the_server_of_these_tests_honours_the_condition_and_can_be_told_not_to(s3: S3Server, bucket: ObjectBook):
    """Every test on races here is worth something only if this holds."""
    object_store.create(bucket.store, "x", b"first")
    with pytest.raises(AlreadyExistsError):
        object_store.create(bucket.store, "x", b"second")
    assert object_store.get(bucket.store, "x") == b"first"
    s3.ignore_conditions(True)
    object_store.create(bucket.store, "x", b"third")
    s3.ignore_conditions(False)
    assert object_store.get(bucket.store, "x") == b"third"


def test_a_store_that_ignores_the_condition_is_refused_at_the_first_append(s3: S3Server, bucket: ObjectBook):
    append_all(open_chain(bucket.location, "ds"), EVENTS[:1])
    s3.ignore_conditions(True)
    with pytest.raises(LedgerError, match="ignores If-None-Match.*can't keep a ledger"):
        open_chain(bucket.location, "ds").append(lambda _: EVENTS[1])
    s3.ignore_conditions(False)
    assert [entry.event for entry in open_chain(bucket.location, "ds").read().entries] == EVENTS[:2]


def test_an_entry_whose_answer_was_lost_is_recorded_once(s3: S3Server, bucket: ObjectBook):
    """The HTTP client sends it again, and is told that the object is there: it is our own."""
    append_all(chain := open_chain(bucket.location, "ds"), EVENTS)
    s3.lose_answers(1)
    s3.seen()
    assert chain.append(lambda _: OURS)[-1].event == OURS
    assert [line.split()[0] for line in s3.seen()] == ["GET", "PUT", "PUT", "GET"]
    assert [entry.event for entry in open_chain(bucket.location, "ds").read().entries] == [*EVENTS, OURS]
    assert len(chain.append(lambda _: THEIRS)) == len(EVENTS) + 2


def test_an_entry_is_recorded_once_also_when_the_client_had_given_up(s3: S3Server, bucket: ObjectBook):
    append_all(chain := open_chain(bucket.location, "ds"), EVENTS)
    s3.lose_answers(2)  # as many as it tries
    assert chain.append(lambda _: OURS)[-1].event == OURS
    assert [entry.event for entry in open_chain(bucket.location, "ds").read().entries] == [*EVENTS, OURS]


def test_when_no_answer_comes_at_all_it_says_that_the_outcome_is_unknown(s3: S3Server, bucket: ObjectBook):
    append_all(chain := open_chain(bucket.location, "ds"), EVENTS)
    s3.lose_answers(4)
    with pytest.raises(LedgerError) as error:
        chain.append(lambda _: OURS)
    assert str(error.value) == (
        f"can't write ledger {bucket.location}/ds/000000000006.json: the store answered 500 Internal Server Error; "
        "whether the entry was recorded is unknown, and running again settles it"
    )
    # Here it was, and the next append builds on it.
    assert [entry.event for entry in chain.append(lambda _: THEIRS)] == [*EVENTS, OURS, THEIRS]


def test_an_entry_that_arrives_late_loses_its_number(memory: ObjectStore, monkeypatch: pytest.MonkeyPatch):
    """The request was given up, another driver goes on, and only then the first request reaches the store."""
    chain, create, late = chain_of(memory), object_store.create, []
    append_all(chain, EVENTS)

    def held_up(store: ObjectStore, name: str, data: bytes) -> str:
        late.append((name, data))
        raise GenericError("operation timed out")

    monkeypatch.setattr(object_chain, "create", held_up)
    with pytest.raises(LedgerError, match="timed out; whether the entry was recorded is unknown"):
        chain.append(lambda _: OURS)
    monkeypatch.undo()
    chain_of(memory).append(lambda _: THEIRS)
    for name, data in late:
        with pytest.raises(AlreadyExistsError):
            create(memory, name, data)
    assert [entry.event for entry in chain_of(memory).read().entries] == [*EVENTS, THEIRS]


@pytest.mark.parametrize("with_the_next", ["list", "put"])
def test_an_entry_that_is_carried_out_after_a_conflict_is_known_as_ones_own(
    s3: S3Server, bucket: ObjectBook, with_the_next: str
):
    """500 and still under way, then 409 and 404, then it is there: it is neither another writer's nor sent again."""
    append_all(chain := open_chain(bucket.location, "ds"), EVENTS)
    s3.arrive_late(1, with_the_next)
    seen: list[int] = []

    def decide(entries: Sequence[Entry]) -> Event:
        seen.append(len(entries))
        return OURS

    assert chain.append(decide)[-1].event == OURS
    assert set(seen) == {len(EVENTS)}, "it never decides on its own entry"
    assert [entry.event for entry in open_chain(bucket.location, "ds").read().entries] == [*EVENTS, OURS]
    assert [entry.event for entry in chain.append(lambda _: THEIRS)] == [*EVENTS, OURS, THEIRS]


@pytest.mark.parametrize("with_the_next", ["list", "put"])
def test_a_driver_whose_reservation_comes_late_goes_on_with_it(s3: S3Server, with_the_next: str):
    ledger = Ledger(s3.new_url(), "ds")
    ledger.register(10.0, 1e-5)
    s3.arrive_late(1, with_the_next)
    lease = ledger.open_run("run", PLAN, "c", "n", True)
    assert lease.attempt == 1
    s3.arrive_late(1, with_the_next)
    reserved = lease.reserve(0, "ab", 2, "v")
    s3.arrive_late(1, with_the_next)
    lease.commit(reserved, "cd")
    s3.arrive_late(1, with_the_next)
    lease.release(reserved)
    assert [entry.kind for entry in ledger.entries()] == ["REGISTERED", "OPENED", "RESERVED", "COMMITTED", "RELEASED"]


def test_ones_own_late_entry_is_the_last_of_what_is_returned_also_when_others_followed_it(
    memory: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    chain, create = chain_of(memory), object_store.create
    append_all(chain, EVENTS)
    held = []

    def conflict(store: ObjectStore, name: str, data: bytes) -> str:
        held.append((name, data))
        raise AlreadyExistsError("409 ConditionalRequestConflict")

    def pause(_: float) -> None:
        monkeypatch.setattr(object_chain, "create", create)
        if held:
            create(memory, *held.pop())
            chain_of(memory).append(lambda _: THEIRS)

    monkeypatch.setattr(object_chain, "create", conflict)
    monkeypatch.setattr(object_chain.time, "sleep", pause)
    assert [entry.event for entry in chain.append(lambda _: OURS)] == [*EVENTS, OURS]
    assert [entry.event for entry in chain_of(memory).read().entries] == [*EVENTS, OURS, THEIRS]


def test_a_store_that_says_taken_and_shows_nothing_leaves_the_outcome_unknown(
    memory: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    chain = chain_of(memory)
    append_all(chain, EVENTS)

    def conflict(store: ObjectStore, name: str, data: bytes) -> str:
        raise AlreadyExistsError("409 ConditionalRequestConflict")

    monkeypatch.setattr(object_chain, "create", conflict)
    with pytest.raises(
        LedgerError, match="30 times that another write is under way; whether the entry was recorded is"
    ):
        chain.append(lambda _: OURS)
