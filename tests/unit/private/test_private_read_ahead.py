import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.private.read_ahead import read_ahead
from spti_ray.private.record import Record


def records(num, size=1):
    return [Record(i, "all", None, np.zeros((size, 1, 3), np.uint8) if i % 3 else None) for i in range(num)]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "reading records"]


@given(num=st.integers(0, 20), most=st.integers(1, 5), most_bytes=st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_records_come_as_they_are_read(num, most, most_bytes):
    assert [record.index for record in read_ahead(iter(records(num)), most, most_bytes)] == list(range(num))
    assert threads() == []


@pytest.mark.parametrize(("most", "most_bytes", "ahead"), [(2, 10**9, 3), (10, 9, 3)])
def test_only_so_many_and_so_many_bytes_are_read_ahead(most, most_bytes, ahead):
    read = []

    def source():
        for record in records(20, size=2):
            read.append(record.index)
            yield record

    given = read_ahead(source(), most, most_bytes)
    assert next(given).index == 0
    deadline = time.monotonic() + 5
    while len(read) < 1 + ahead and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(read) == 1 + ahead  # the last one waits for room
    given.close()
    assert threads() == []


def test_an_error_comes_in_its_place_as_it_was_raised():
    def source():
        yield from records(3)
        raise OSError("no disk")

    seen = []
    with pytest.raises(OSError, match="no disk") as raised:
        for record in read_ahead(source(), 8):
            seen.append(record.index)
    assert seen == [0, 1, 2] and raised.value.__context__ is None and threads() == []


def test_whoever_stops_early_leaves_no_thread_and_no_record_behind():
    given = read_ahead(iter(records(100)), 4)
    for record in given:
        if record.index == 7:
            break
    given.close()
    assert threads() == []
