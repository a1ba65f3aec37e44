"""What only a chain in a local file goes through: torn lines, full disks, locks between processes."""

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.dp import file_chain
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Burned, Entry, Event, decode
from spti_ray.dp.file_chain import FileChain, IncompleteTail, verify
from tests.unit.dp.books import EVENTS, append_all, lines_of


def write_all(path: Path) -> bytes:
    append_all(FileChain(path), EVENTS)
    return path.read_bytes()


def append(path: Path, event: Event) -> None:
    append_all(FileChain(path), [event])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_single_edit_of_the_file_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    lines = lines_of(EVENTS)
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


def test_a_line_after_the_last_is_checked_too(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    good = write_all(path)
    for line in (b"", b"[1]", b"garbage", b'{"seq":NaN}'):
        path.write_bytes(good + line + b"\n")
        with pytest.raises(LedgerError, match="line 7"):
            verify(path)


def test_verify_compares_with_a_head_kept_elsewhere(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    lines = write_all(path).splitlines(keepends=True)
    head = decode(lines[-1].rstrip()).hash
    assert len(verify(path, head)) == len(EVENTS)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(LedgerError, match="cut back"):
        verify(path, head)


def test_a_live_chain_notices_that_its_file_is_gone(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    chain = FileChain(path)
    append_all(chain, EVENTS)
    path.unlink()
    for use in (chain.read, lambda: chain.append(lambda _: EVENTS[-1])):
        with pytest.raises(LedgerError, match="cut back or replaced"):
            use()


@pytest.mark.parametrize("torn_by", [lambda line: line[:1], lambda line: line[:-1], lambda _: bytes(4096)])
def test_a_torn_last_line_is_reported_and_removed_by_the_next_append(tmp_path: Path, torn_by: Callable[[bytes], bytes]):
    path = tmp_path / "l.jsonl"
    lines = write_all(path).splitlines()
    torn = b"\n".join(lines[:-1]) + b"\n" + torn_by(lines[-1])
    path.write_bytes(torn)
    with pytest.raises(IncompleteTail, match="line 6 is incomplete") as incomplete:
        verify(path)
    assert len(incomplete.value.entries) == 5
    reading = FileChain(path).read()
    assert len(reading.entries) == 5 and "line 6 is incomplete" in reading.note
    assert path.read_bytes() == torn, "reading repairs nothing"
    append(path, EVENTS[-1])
    assert [entry.event for entry in verify(path)] == EVENTS


def test_a_torn_line_is_left_alone_when_nothing_is_appended(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    torn = write_all(path)[:-5]
    path.write_bytes(torn)
    assert len(FileChain(path).append(lambda _: None)) == 5
    assert path.read_bytes() == torn


def test_an_entry_that_lacks_only_its_newline_is_kept(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    path.write_bytes(write_all(path).rstrip(b"\n"))
    assert len(verify(path)) == len(EVENTS)
    append(path, Burned("r", 2, 2, "x"))
    assert len(verify(path)) == len(EVENTS) + 1


def test_a_whole_last_line_that_does_not_follow_is_no_torn_one(tmp_path: Path):
    path = tmp_path / "l.jsonl"
    lines = write_all(path).splitlines()
    path.write_bytes(b"\n".join([*lines, lines[2]]))
    with pytest.raises(LedgerError, match="line 7 does not follow") as error:
        FileChain(path).append(lambda _: EVENTS[-1])
    assert not isinstance(error.value, IncompleteTail)


def test_a_full_disk_is_one_line_and_leaves_the_ledger_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "l.jsonl"
    before = write_all(path)
    pwrite = os.pwrite

    def fills_up(fd: int, data: bytes, offset: int) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(fd, data[:40], offset)

    monkeypatch.setattr(file_chain.os, "pwrite", fills_up)
    with pytest.raises(LedgerError, match="No space left on device; nothing was recorded"):
        append(path, EVENTS[-1])
    assert path.read_bytes() == before
    monkeypatch.undo()
    append(path, EVENTS[-1])
    assert len(verify(path)) == len(EVENTS) + 1


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_an_append_returns_only_after_every_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int):
    """The folder that is new, the file's name in it, and the line: each failure is told, none is passed over."""
    fsync, done = os.fsync, 0

    def fails_once(fd: int) -> None:
        nonlocal done
        done += 1
        if done == calls:
            raise OSError(errno.EIO, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fails_once)
    chain = FileChain(tmp_path / "new" / "l.jsonl")
    with pytest.raises(LedgerError, match="Input/output error"):
        chain.append(lambda _: EVENTS[0])
    assert chain.read().entries == []
    assert len(chain.append(lambda _: EVENTS[0])) == 1


def test_a_ledger_that_cant_be_opened_is_one_line(tmp_path: Path):
    with pytest.raises(LedgerError, match="can't read ledger"):
        verify(tmp_path / "none.jsonl")
    with pytest.raises(LedgerError, match="can't open ledger"):
        FileChain(tmp_path).append(lambda _: EVENTS[0])


def test_nobody_appends_or_reads_while_another_decides(tmp_path: Path):
    """Two chain objects are as far apart as two processes: each use locks a descriptor of its own."""
    path, entered, sees = tmp_path / "l.jsonl", threading.Event(), []

    def decide(entries: Sequence[Entry]) -> Event:
        entered.set()
        time.sleep(0.2)
        sees.append(len(entries))
        return EVENTS[2]

    append_all(FileChain(path), EVENTS[:2])
    slow = threading.Thread(target=lambda: FileChain(path).append(decide))
    slow.start()
    entered.wait()
    assert len(FileChain(path).read().entries) == 3, "the reader waited for the line to be whole"
    append(path, EVENTS[3])
    slow.join()
    assert sees == [2] and [entry.event for entry in verify(path)] == EVENTS[:4]
