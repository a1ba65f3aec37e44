"""What Ray's start does to this process's handlers of signals, undone."""

import signal
import threading

import pytest

from spti_ray.runtime.ray import join as ray_join
from spti_ray.runtime.ray import start as ray_start
from spti_ray.runtime.ray.signals import handlers_kept


def ours(*_: object) -> None:
    """A handler that was there before Ray."""


@pytest.fixture(autouse=True)
def caught():
    before = {number: signal.signal(number, ours) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def replaces(**_: object) -> None:
    """Does what `ray.init` does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("starts", [False, True])
def test_the_handlers_of_before_are_in_force_once_ray_is_there(monkeypatch, tmp_path, starts):
    if starts:
        monkeypatch.setattr(ray_start.ray, "init", replaces)
        ray_start._start(tmp_path, 1.0, "", {})
    else:
        monkeypatch.setattr(ray_join, "check_address", lambda address: None)
        monkeypatch.setattr(ray_join.ray, "init", replaces)
        ray_join.join("auto")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == [ours, ours]


def test_they_are_put_back_where_ray_fails_too():
    with pytest.raises(ZeroDivisionError), handlers_kept():
        replaces()
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is ours


def test_another_thread_which_may_set_none_is_let_through():
    done = []

    def go() -> None:
        with handlers_kept():
            done.append(True)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    assert done
