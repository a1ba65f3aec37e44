import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.batching import padded_batches
from spti_ray.models.out_of_memory import largest_fitting_batch, retry_in_smaller_batches


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


class Engine:
    """Has room for `room` items; says with which batch size it did each call."""

    def __init__(self, batch_size: int, room: int, error: Exception):
        self.config = EngineConfig(kind="any", batch_size=batch_size)
        self.sizes: list[int] = []
        self._room, self._error = room, error

    def double(self, items):
        found = []
        for batch, real in padded_batches(items, self.config.batch_size):
            self.sizes.append(len(batch))
            if len(batch) > self._room:
                raise self._error
            found += [2 * item for item in batch[:real]]
        return found


@pytest.mark.parametrize(
    "error",
    [OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("[enforce fail] can't allocate memory")],
)
def test_memory_that_runs_out_halves_the_micro_batch_and_the_engine_remembers(error):
    engine = Engine(batch_size=16, room=5, error=error)
    assert retry_in_smaller_batches(engine, "double", list(range(10))) == [2 * item for item in range(10)]
    assert engine.sizes == [16, 8, 4, 4, 4]
    engine.sizes.clear()
    assert retry_in_smaller_batches(engine, "double", [1]) == [2] and engine.sizes == [4]


def test_what_does_not_fit_one_by_one_fails():
    with pytest.raises(OutOfMemoryError):
        retry_in_smaller_batches(Engine(batch_size=4, room=0, error=OutOfMemoryError()), "double", [1])


def test_other_errors_are_raised_at_once():
    engine = Engine(batch_size=4, room=0, error=RuntimeError("a bad image"))
    with pytest.raises(RuntimeError, match="a bad image"):
        retry_in_smaller_batches(engine, "double", [1])
    assert engine.sizes == [4] and engine.config.batch_size == 4


@pytest.mark.parametrize(
    ("most", "room", "fitting"), [(64, 11, 8), (64, 64, 64), (64, 1000, 64), (48, 1000, 32), (1, 1, 1), (8, 1, 1)]
)
def test_the_largest_power_of_two_that_fits_is_found(most, room, fitting):
    tried = []

    def attempt(size):
        tried.append(size)
        if size > room:
            raise OutOfMemoryError("CUDA out of memory")

    assert largest_fitting_batch(attempt, most) == fitting
    assert tried == sorted(set(tried)) and max(tried) <= min(most, 2 * room)


@pytest.mark.parametrize("error", [OutOfMemoryError(), ValueError("no such argument")])
def test_a_search_in_which_not_even_one_fits_says_why(error):
    def attempt(size):
        raise error

    with pytest.raises(type(error)):
        largest_fitting_batch(attempt, 8)
