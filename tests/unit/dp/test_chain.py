import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.dp import chain as chain_module
from spti_ray.dp.chain import Chain, IncompleteTail, LedgerError, verify
from spti_ray.dp.entries import GENESIS, Burned, Committed, Opened, Registered, Released, Reserved, decode, encode

EVENTS = [
    Registered("ds", 4.0, 1e-5),
    Opened("r", 1, "host", 7, 3.5, 1, 2, 0, 1.0, 1e-5, "cc", "noise", True),
    Reserved("r", 0, 1, 0, 1, 3.5, "ab", 4, "v0", 0.5),
    Committed("r", 0, 0, "ef"),
    Released("r", 0, 0, "ef"),
    Burned("r", 1, 1, "crash"),
]


def write_all(path: Path) -> bytes:
    for event in EVENTS:
        with Chain(path).locked() as locked:
            locked.append(event)
    return path.read_bytes()


def lines_of() -> list[bytes]:
    prev, lines = GENESIS, []
    for seq, event in enumerate(EVENTS):
        lines.append(encode(seq, prev, "2026-01-01T00:00:00+00:00", event))
        prev = decode(lines[-1]).hash
    return lines


def test_entries_come_back_as_they_were_appended(tmp_path: Path):
    path = tmp_path / "sub" / "ds.jsonl"
    write_all(path)
    entries = verify(path)
    assert [entry.event for entry in entries] == EVENTS
    assert [entry.seq for entry in entries] == list(range(len(EVENTS)))
    assert entries[0].prev == GENESIS and entries[1].prev == entries[0].hash
    assert entries[2].kind == "RESERVED" and entries[2].time.endswith("+00:00")


def test_an_altered_line_is_named(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    path.write_bytes(write_all(path).replace(b'"epsilon_after":0.5', b'"epsilon_after":0.4'))
    with pytest.raises(LedgerError, match="line 3 was altered"):
        verify(path)
    with pytest.raises(LedgerError, match="line 3 was altered"), Chain(path).locked():
        pass


def test_a_line_that_says_the_same_in_other_bytes_counts_as_altered(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    path.write_bytes(write_all(path).replace(b'"epsilon_after":0.5', b'"epsilon_after": 0.5'))
    with pytest.raises(LedgerError, match="line 3 was altered"):
        verify(path)


def test_an_alteration_with_a_fresh_hash_breaks_the_next_link(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    lines = write_all(path).splitlines()
    entry = decode(lines[2])
    lines[2] = encode(entry.seq, entry.prev, entry.time, Reserved("r", 0, 1, 0, 1, 9.9, "ab", 4, "v0", 0.1))
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(LedgerError, match="line 4 does not follow"):
        verify(path)


def test_a_line_appended_without_hash_is_refused(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    good = write_all(path)
    path.write_bytes(good + json.dumps({"kind": "RELEASED", "run": "r"}).encode() + b"\n")
    with pytest.raises(LedgerError, match="line 7 was altered"):
        verify(path)
    for line in (b"", b"[1]", b"garbage", b'{"seq":NaN}'):
        path.write_bytes(good + line + b"\n")
        with pytest.raises(LedgerError, match="line 7"):
            verify(path)


def test_a_field_of_the_wrong_type_is_refused_even_with_a_right_hash():
    line = encode(0, GENESIS, "t", Registered("ds", True, 1e-5))  # bool is an int, but not a budget
    with pytest.raises(ValueError, match="lifetime_epsilon of the wrong type"):
        decode(line)
    assert decode(encode(0, GENESIS, "t", Registered("ds", 4, 1e-5))).event == Registered("ds", 4, 1e-5)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_single_edit_of_the_file_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    lines = lines_of()
    last = len(lines) - 1
    edit = data.draw(st.sampled_from(["drop", "swap", "repeat", "flip"]))
    i = data.draw(st.integers(0, last - 1))
    if edit == "drop":
        del lines[i]
    elif edit == "swap":
        j = data.draw(st.integers(0, last).filter(lambda j: j != i))
        lines[i], lines[j] = lines[j], lines[i]
    elif edit == "repeat":
        lines.insert(i, lines[i])
    else:
        at = data.draw(st.integers(0, len(lines[i]) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[i][at]))
        lines[i] = lines[i][:at] + bytes([byte]) + lines[i][at + 1 :]
    path = tmp_path_factory.mktemp("edit") / "l.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(LedgerError) as error:
        verify(path)
    assert not isinstance(error.value, IncompleteTail)


def test_a_head_kept_elsewhere_shows_a_chain_that_was_cut_back(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    lines = write_all(path).splitlines(keepends=True)
    head = decode(lines[-1].rstrip()).hash
    assert len(verify(path, head)) == len(EVENTS)
    path.write_bytes(b"".join(lines[:-1]))
    assert len(verify(path)) == len(EVENTS) - 1
    with pytest.raises(LedgerError, match="cut back"):
        verify(path, head)


def test_a_live_chain_notices_that_the_file_was_cut_back(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    lines = write_all(path).splitlines(keepends=True)
    chain = Chain(path)
    with chain.locked():
        pass
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(LedgerError, match="cut back or replaced"), chain.locked():
        pass


@pytest.mark.parametrize("torn_by", [lambda line: line[:1], lambda line: line[:-1], lambda _: bytes(4096)])
def test_a_torn_last_line_is_reported_and_removed_by_the_next_append(tmp_path: Path, torn_by: Callable[[bytes], bytes]):
    path = tmp_path / "l.jsonl"
    lines = write_all(path).splitlines()
    path.write_bytes(b"\n".join(lines[:-1]) + b"\n" + torn_by(lines[-1]))
    with pytest.raises(IncompleteTail, match="line 6 is incomplete") as torn:
        verify(path)
    assert len(torn.value.entries) == 5
    with Chain(path).locked() as locked:
        locked.append(EVENTS[-1])
    assert [entry.event for entry in verify(path)] == EVENTS


def test_an_entry_that_lacks_only_its_newline_is_kept(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    path.write_bytes(write_all(path).rstrip(b"\n"))
    assert len(verify(path)) == len(EVENTS)
    with Chain(path).locked() as locked:
        locked.append(Burned("r", 2, 2, "x"))
    assert len(verify(path)) == len(EVENTS) + 1


def test_a_full_disk_is_one_line_and_leaves_the_ledger_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "l.jsonl"
    before = write_all(path)
    pwrite = os.pwrite

    def fills_up(fd: int, data: bytes, offset: int) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(fd, data[:40], offset)

    monkeypatch.setattr(chain_module.os, "pwrite", fills_up)
    with pytest.raises(LedgerError, match="No space left on device; nothing was recorded"), Chain(path).locked() as c:
        c.append(EVENTS[-1])
    assert path.read_bytes() == before
    monkeypatch.undo()
    with Chain(path).locked() as locked:
        locked.append(EVENTS[-1])
    assert len(verify(path)) == len(EVENTS) + 1


def test_a_ledger_that_cant_be_opened_is_one_line(tmp_path: Path):
    with pytest.raises(LedgerError, match="can't read ledger"):
        verify(tmp_path / "none.jsonl")
    with pytest.raises(LedgerError, match="can't open ledger"), Chain(tmp_path).locked():
        pass


def _append_many(path: Path, num: int) -> None:
    for i in range(num):
        with Chain(path).locked() as locked:
            locked.append(Burned(f"r{os.getpid()}", i, i, "x"))


def test_concurrent_writers_make_one_chain(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, 15)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(verify(path)) == 45
