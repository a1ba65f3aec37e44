"""Writes off the thread that asks for them."""

import gc
import threading
import weakref

import pytest

from spti_ray.io.write_threads import WriteThreads


def test_one_thread_keeps_the_order_and_whoever_asks_goes_on_at_once():
    writes, written, go = WriteThreads("w"), [], threading.Event()
    writes.submit(go.wait)
    for number in range(50):
        writes.submit(lambda number=number: written.append(number))
    assert written == []
    go.set()
    writes.drain()
    assert written == list(range(50))


def test_several_threads_write_side_by_side():
    writes, both = WriteThreads("w", 2), threading.Barrier(2)
    for _ in range(2):
        writes.submit(lambda: both.wait(60))
    writes.drain()


def test_what_a_write_raises_is_raised_where_the_next_one_is_asked_for_and_the_rest_is_written():
    writes, written = WriteThreads("w"), []

    def fail() -> None:
        raise OSError("full")

    writes.submit(fail)
    writes.submit(lambda: written.append(1))
    with pytest.raises(OSError, match="full"):
        writes.drain()
    assert written == [1]
    writes.submit(lambda: written.append(2))
    writes.drain()
    assert written == [1, 2]


def test_what_was_written_is_let_go_of_and_the_threads_end_with_their_object():
    class Held:
        pass

    writes, held = WriteThreads("held by a test", 2), Held()
    gone = weakref.ref(held)
    writes.submit(lambda held=held: None)
    writes.drain()
    del held
    assert gone() is None
    threads = [thread for thread in threading.enumerate() if thread.name == "held by a test"]
    assert len(threads) == 2
    del writes
    gc.collect()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_close_writes_what_waits():
    writes, written = WriteThreads("w"), []
    writes.submit(lambda: written.append(1))
    writes.close()
    assert written == [1]
