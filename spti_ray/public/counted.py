"""Streams that say how many items are still to come, so that no pool of engines grows beyond the work that is left.

They say it by `__length_hint__` (PEP 424), as iterators of lists do. It is asked again and again while one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any, TypeVar

T = TypeVar("T")


class Counted(Iterator[T]):
    """Items one by one.

    Args:
        items: the items.
        left: says about how many of them are still to come; None if that is not known.
    """

    def __init__(self, items: Iterable[T], left: Callable[[], int | None]) -> None:
        self._items = iter(items)
        self._left = left
        self.num_read = 0

    def __next__(self) -> T:
        item = next(self._items)
        self.num_read += 1
        return item

    def __length_hint__(self) -> int:
        left = self._left()
        return NotImplemented if left is None else max(0, left)


def to_come(items: Iterable[Any]) -> int | None:
    """How many items of an iterator are still to come, or how many a collection has; None if that is not known."""
    left = length_hint(items, -1)
    return None if left < 0 else left


def counted(items: Iterable[T], total: int | None = None) -> Counted[T]:
    """The same items, of which there are `total`; by default as many as they say themselves."""
    source = iter(items)
    stream = Counted(source, lambda: to_come(source) if total is None else total - stream.num_read)
    return stream


def made_of(source: Iterator[Any], items: Iterable[T], count: int = 1) -> Counted[T]:
    """Items that are made of a source's as they are read: at most `count` of each."""

    def left() -> int | None:
        of_source = to_come(source)
        return None if of_source is None else count * of_source

    return Counted(items, left)


def one_for_each(source: Counted[Any], items: Iterable[T]) -> Counted[T]:
    """Items of which there is one for each of a source's, some time after that was read."""

    def left() -> int | None:
        of_source = to_come(source)
        return None if of_source is None else of_source + source.num_read - stream.num_read

    stream = Counted(items, left)
    return stream
