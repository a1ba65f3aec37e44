"""What leaves a private method when something in it fails: a type's name, and nothing hangs on it."""

import pickle
import traceback

import pytest

from spti_ray.models.protocols import EngineDead
from spti_ray.private.kinds import DataError
from spti_ray.private.safe_errors import ShardError, safe_errors
from spti_ray.private.views import VotingError

SECRET = "CANARY-2b70"


class Panic(BaseException):
    """As PyO3 makes of a panic in Rust."""


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.handle = lambda: text


class Worker:
    shard_id = 3

    def __init__(self, failure: BaseException) -> None:
        self._failure = failure

    @safe_errors("working")
    def work(self) -> None:
        try:
            raise LookupError(SECRET)
        except LookupError as error:
            self._failure.add_note(SECRET)
            raise self._failure from error


def _raised(failure: BaseException) -> BaseException:
    with pytest.raises(BaseException) as caught:
        Worker(failure).work()
    return caught.value


@pytest.mark.parametrize(
    "failure",
    [
        ValueError(SECRET),
        OSError(5, SECRET, SECRET),
        MemoryError(SECRET),
        UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        Unpicklable(SECRET),
        Panic(SECRET),
        SystemExit(SECRET),
        GeneratorExit(SECRET),
        EngineDead(SECRET),
        KeyboardInterrupt(SECRET),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_only_the_type_of_an_error_is_told(failure):
    error = _raised(failure)
    assert error.__cause__ is None and error.__context__ is None and not hasattr(error, "__notes__")
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + repr(error.args)
    assert SECRET not in shown and SECRET.encode() not in pickle.dumps(error)
    if not isinstance(failure, EngineDead | KeyboardInterrupt):
        assert type(error) is ShardError
        assert str(error) == f"shard 3: working failed ({type(failure).__name__})"


@pytest.mark.parametrize("kind", [DataError, ShardError, VotingError])
def test_texts_of_our_own_errors_stay_and_what_hangs_on_them_goes(kind):
    error = _raised(kind("data.path: what to do"))
    assert type(error) is kind and str(error) == "data.path: what to do"
    assert error.__cause__ is None and error.__context__ is None and not hasattr(error, "__notes__")


def test_an_interrupt_stays_an_interrupt_and_a_dead_engine_a_dead_engine():
    assert isinstance(_raised(KeyboardInterrupt(SECRET)), KeyboardInterrupt)
    assert str(_raised(EngineDead(SECRET))) == "shard 3: the engine died while working"


def test_what_works_is_passed_through():
    class Adder:
        shard_id = 0

        @safe_errors("adding")
        def add(self, a: int, *, b: int) -> int:
            """Adds."""
            return a + b

    assert Adder().add(1, b=2) == 3 and Adder.add.__name__ == "add" and Adder.add.__doc__ == "Adds."
