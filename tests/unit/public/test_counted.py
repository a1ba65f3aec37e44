"""Streams that say how many items are still to come, while they are read."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.public.counted import counted, made_of, one_for_each, to_come


def numbers(count: int) -> Iterator[int]:
    """A stream that does not say how many it has."""
    yield from range(count)


def read(stream: Iterator[int], count: int) -> int:
    return len(list(islice(stream, count)))


@given(st.integers(0, 20), st.integers(0, 25))
def test_what_was_read_is_not_to_come_any_more(total, count):
    for stream in (counted(range(total)), counted(numbers(total), total)):
        assert to_come(stream) == total
        assert total - read(stream, count) == total - stream.num_read == to_come(stream)


def test_more_than_was_said_is_given_all_the_same():
    stream = counted(numbers(3), 2)
    assert list(stream) == [0, 1, 2] and to_come(stream) == 0


@given(st.integers(0, 20), st.integers(1, 3), st.integers(0, 70))
def test_of_what_is_made_of_a_stream_there_is_as_much_to_come_as_the_stream_still_gives(total, each, count):
    source = iter(range(total))
    made = made_of(source, (number for number in source for _ in range(each)), each)
    assert to_come(made) == total * each
    begun = -(-read(made, count) // each)
    assert to_come(made) == (total - begun) * each


def test_a_filter_does_not_count_on_what_it_has_left_out():
    source = iter(range(10))
    odd = made_of(source, (number for number in source if number % 2))
    assert [next(odd), next(odd), to_come(odd)] == [1, 3, 6]


@given(st.integers(0, 20), st.data())
def test_what_waits_between_two_streams_is_still_to_come_of_the_second(total, data):
    source = counted(range(total))
    waiting: list[int] = []
    answers = one_for_each(source, (waiting.pop(0) for _ in range(total)))
    for _ in range(data.draw(st.integers(0, total))):
        waiting.append(next(source))
    answered = read(answers, data.draw(st.integers(0, len(waiting))))
    assert to_come(answers) == total - answered


@pytest.mark.parametrize("stream", [numbers(3), counted(numbers(3)), made_of(numbers(3), [1])])
def test_where_nobody_said_how_many_nobody_knows(stream):
    assert to_come(stream) is None
    assert to_come(one_for_each(counted(stream), [])) is None
