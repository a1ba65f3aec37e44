"""What every chain promises, in a local file and in a bucket."""

import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from spti_ray.dp.chain import LedgerError, check_contains, head_of
from spti_ray.dp.entries import GENESIS, Burned, Entry, Event, Registered, Reserved, decode, encode
from tests.unit.dp.books import EVENTS, Book, append_all, append_burned, chain_in, lines_of


def test_entries_come_back_as_they_were_appended(book: Book):
    append_all(chain_in(book), EVENTS)
    reading = chain_in(book).read()
    assert [entry.event for entry in reading.entries] == EVENTS
    assert [entry.seq for entry in reading.entries] == list(range(len(EVENTS)))
    assert reading.entries[0].prev == GENESIS and reading.entries[1].prev == reading.entries[0].hash
    assert reading.entries[2].kind == "RESERVED" and reading.entries[2].time.endswith("+00:00")
    assert reading.head == head_of(reading.entries) == reading.entries[-1].hash and reading.note == ""


def test_each_append_returns_all_entries_with_the_new_one_last(book: Book):
    chain = chain_in(book)
    for i, event in enumerate(EVENTS):
        entries = chain.append(lambda _, event=event: event)
        assert [entry.event for entry in entries] == EVENTS[: i + 1]
    entries.clear()
    assert len(chain.read().entries) == len(EVENTS), "callers may do with the list what they like"


def test_a_chain_that_is_not_there_yet_reads_as_empty_and_reading_leaves_nothing(book: Book):
    chain = chain_in(book)
    assert chain.read().entries == [] and chain.read().head == GENESIS
    assert book.lines() == []


def test_deciding_on_nothing_appends_nothing(book: Book):
    chain = chain_in(book)
    append_all(chain, EVENTS[:2])
    before = book.lines()
    assert [entry.event for entry in chain.append(lambda _: None)] == EVENTS[:2]
    assert book.lines() == before


def test_what_a_decision_raises_goes_through_and_nothing_is_written(book: Book):
    class Refusal(Exception):
        pass

    def refuse(entries: Sequence[Entry]) -> Event:
        assert len(entries) == 2
        raise Refusal

    chain = chain_in(book)
    append_all(chain, EVENTS[:2])
    before = book.lines()
    with pytest.raises(Refusal):
        chain.append(refuse)
    assert book.lines() == before
    append_all(chain, EVENTS[2:])  # no lock stays behind
    assert len(book.lines()) == len(EVENTS)


def test_a_decision_sees_what_others_appended(book: Book):
    one, other = chain_in(book), chain_in(book)
    append_all(one, EVENTS[:1])
    append_all(other, EVENTS[1:3])
    seen: list[int] = []

    def decide(entries: Sequence[Entry]) -> Event:
        seen.append(len(entries))
        return EVENTS[3]

    one.append(decide)
    assert seen == [3] and len(other.read().entries) == 4


def test_content_is_kept_byte_for_byte_canonical(book: Book):
    append_all(chain_in(book), EVENTS)
    for seq, line in enumerate(book.lines()):
        entry = decode(line)
        assert line == encode(seq, entry.prev, entry.time, entry.event)


def _altered(lines: list[bytes]) -> None:
    lines[2] = lines[2].replace(b'"epsilon_after":0.5', b'"epsilon_after":0.4')


def _said_otherwise(lines: list[bytes]) -> None:
    lines[2] = lines[2].replace(b'"epsilon_after":0.5', b'"epsilon_after": 0.5')


def _without_hash(lines: list[bytes]) -> None:
    lines[2] = json.dumps({"kind": "RELEASED", "run": "r"}).encode()


def _empty(lines: list[bytes]) -> None:
    lines[2] = b""


def _no_object(lines: list[bytes]) -> None:
    lines[2] = b"[1]"


def _nan(lines: list[bytes]) -> None:
    lines[2] = b'{"seq":NaN}'


@pytest.mark.parametrize("edit", [_altered, _said_otherwise, _without_hash, _empty, _no_object, _nan])
def test_an_entry_with_other_content_is_named(book: Book, edit: Callable[[list[bytes]], None]):
    append_all(chain_in(book), EVENTS)
    lines = book.lines()
    edit(lines)
    book.rewrite(lines)
    for use in (lambda: chain_in(book).read(), lambda: chain_in(book).append(lambda _: EVENTS[-1])):
        with pytest.raises(LedgerError, match=rf"{book.named(2)}.* (was altered|is not).*; restore it from a copy$"):
            use()
    assert book.lines() == lines, "what is wrong is never repaired"


def test_an_alteration_with_a_fresh_hash_breaks_the_next_link(book: Book):
    lines = lines_of(EVENTS)
    entry = decode(lines[2])
    lines[2] = encode(entry.seq, entry.prev, entry.time, Reserved("r", 0, 1, 0, 1, 9.9, "ab", 4, "v0", 0.1))
    book.rewrite(lines)
    with pytest.raises(LedgerError, match=f"{book.named(3)} does not follow"):
        chain_in(book).read()


@pytest.mark.parametrize("edit", ["drop", "swap", "repeat"])
def test_dropped_reordered_and_repeated_entries_are_noticed(book: Book, edit: str):
    lines = lines_of(EVENTS)
    if edit == "drop":
        del lines[2]
    elif edit == "swap":
        lines[2], lines[3] = lines[3], lines[2]
    else:
        lines.insert(2, lines[1])
    book.rewrite(lines)
    with pytest.raises(LedgerError, match=f"{book.named(2)} does not follow .* dropped, inserted or reordered"):
        chain_in(book).read()


def test_a_field_of_the_wrong_type_is_refused_even_with_a_right_hash():
    line = encode(0, GENESIS, "t", Registered("ds", True, 1e-5))  # bool is an int, but not a budget
    with pytest.raises(ValueError, match="lifetime_epsilon of the wrong type"):
        decode(line)
    assert decode(encode(0, GENESIS, "t", Registered("ds", 4, 1e-5))).event == Registered("ds", 4, 1e-5)


def test_a_head_kept_elsewhere_shows_a_chain_that_was_cut_back(book: Book):
    book.rewrite(lines_of(EVENTS))
    head = chain_in(book).read().head
    check_contains(chain_in(book).read().entries, head, "here")
    book.rewrite(lines_of(EVENTS)[:-1])
    entries = chain_in(book).read().entries
    assert len(entries) == len(EVENTS) - 1, "a shorter chain is whole in itself"
    with pytest.raises(LedgerError, match=f"ledger here does not contain the expected head {head[:12]}: it was cut"):
        check_contains(entries, head, "here")


@pytest.mark.parametrize("left", [0, len(EVENTS) - 1])
@pytest.mark.parametrize("known_by", ["read", "append"])
@pytest.mark.parametrize("noticed_by", ["read", "append"])
def test_a_live_chain_notices_that_it_was_cut_back(book: Book, left: int, known_by: str, noticed_by: str):
    book.rewrite(lines_of(EVENTS))
    chain = chain_in(book)
    if known_by == "read":
        chain.read()
    else:
        chain.append(lambda _: None)
    book.rewrite(lines_of(EVENTS)[:left])
    with pytest.raises(LedgerError, match="cut back or replaced"):
        if noticed_by == "read":
            chain.read()
        else:
            chain.append(lambda _: EVENTS[-1])
    assert book.lines() == lines_of(EVENTS)[:left]


def test_a_live_chain_notices_that_it_was_replaced_by_another_valid_one(book: Book):
    book.rewrite(lines_of(EVENTS))
    chain = chain_in(book)
    chain.read()
    book.rewrite(lines_of([*EVENTS[:2], *EVENTS[3:], EVENTS[3], EVENTS[3]]))
    with pytest.raises(LedgerError, match="replaced"):
        chain.read()
    with pytest.raises(LedgerError, match="replaced"):
        chain.append(lambda _: EVENTS[-1])


def test_a_live_chain_reads_on_when_it_was_moved_away_and_restored(book: Book):
    lines = lines_of(EVENTS)
    book.rewrite(lines)
    chain = chain_in(book)
    chain.read()
    book.rewrite([])
    with pytest.raises(LedgerError):
        chain.read()
    book.rewrite(lines)
    assert [entry.event for entry in chain.read().entries] == EVENTS


def test_concurrent_writers_make_one_chain(book: Book):
    context = multiprocessing.get_context("spawn")  # obstore's threads do not survive a fork
    writers = [context.Process(target=append_burned, args=(book.location, 12)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    events = [entry.event for entry in chain_in(book).read().entries]
    assert len(events) == 36
    for writer in writers:  # each writer's entries, none lost, none twice, in its order
        own = [event.slot for event in events if isinstance(event, Burned) and event.run == f"r{writer.pid}"]
        assert own == list(range(12))


def test_threads_may_share_a_chain_and_decide_one_at_a_time(book: Book):
    chain, deciding, most = chain_in(book), 0, 0
    failures: list[BaseException] = []

    def decide(entries: Sequence[Entry]) -> Event:
        nonlocal deciding, most
        deciding += 1
        most = max(most, deciding)
        time.sleep(0.002)
        deciding -= 1
        return Burned("r", 0, len(entries), threading.current_thread().name)

    def write() -> None:
        try:
            for _ in range(4):
                chain.append(decide)
                chain.read()
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and len(chain_in(book).read().entries) == 16
    assert most == 1
