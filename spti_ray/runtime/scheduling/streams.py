"""The open streams of a pool: when each takes from its source, and who reads its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from spti_ray.runtime.scheduling.coroutine import Coroutine
from spti_ray.runtime.scheduling.events import Events
from spti_ray.runtime.scheduling.ordered_stream import OrderedStream
from spti_ray.runtime.scheduling.scheduler import Batch

_AHEAD_PER_SLOT = 8
"""Batches per slot that a stream may be ahead of its oldest missing one: their results wait in memory."""

_FETCHED = 1024
"""Batches that a stream fetches at most while the actors sleep: so many are there when they wake."""

_FETCHED_EARLY = 8
"""While no actor is up for another reason: the stages before this one work already."""


class Streams:
    """The streams that are read now. One may feed another, of this pool or of a second one.

    Args:
        events: on which a stream waits.
        wants_more: whether a new batch would be run at once.
        num_slots: how many batches may be in flight at a time.
        may_wait: whether the result of one more batch, beside those of so many under way, may wait to be read.
        asleep: whether no actor is up because another role holds the GPU.
        none_up: whether no actor is up: they still start, or there is none, as in a pool that starts its first one when
            there is a batch.
        put: runs a batch, some time.
        forget: drops the batches of a stream that wait.
        check: raises if no batch can be run any more.
    """

    def __init__(
        self,
        events: Events,
        *,
        wants_more: Callable[[], bool],
        num_slots: Callable[[], int],
        may_wait: Callable[[int], bool],
        asleep: Callable[[], bool],
        none_up: Callable[[], bool],
        put: Callable[[Batch], None],
        forget: Callable[[OrderedStream], None],
        check: Callable[[], None],
    ) -> None:
        self._events = events
        self._wants_more, self._num_slots = wants_more, num_slots
        self._may_wait = may_wait
        self._asleep, self._none_up = asleep, none_up
        self._put, self._forget = put, forget
        self._check = check
        self._pullers: dict[OrderedStream, Coroutine] = {}

    def __contains__(self, stream: object) -> bool:
        return stream in self._pullers

    @property
    def are_done(self) -> bool:
        """Whether none can give another batch before one that is at work is back."""
        return all(stream.exhausted or not self._may_run_ahead(stream) for stream in self._pullers)

    @property
    def have_fetched(self) -> bool:
        """Whether any of them has taken what is not a batch yet."""
        return any(stream.fetched for stream in self._pullers)

    @property
    def left(self) -> int | None:
        """Batches that are still to come; None if that is not known."""
        left = [stream.left for stream in self._pullers]
        return None if None in left else sum(count for count in left if count is not None)

    @property
    def size(self) -> int:
        """Batches of those that are open, done ones too, as far as it is known."""
        return sum(stream.pulled + (stream.left or 0) for stream in self._pullers)

    def read(self, source: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
        """Open a stream and give its results in order; see `Pool.map`. It is closed when nobody reads on."""
        stream = OrderedStream(source)
        puller = Coroutine(partial(self._pull, stream))
        self._pullers[stream] = puller
        try:
            while True:
                yield from stream.results()
                puller.resume()
                if stream.ready:
                    continue
                if stream.error:
                    raise stream.error
                if stream.exhausted and not stream.ahead:
                    if stream.source_error:
                        raise stream.source_error
                    return
                self._check()
                self._events.wait()
        finally:
            del self._pullers[stream]
            puller.end()
            self._forget(stream)

    def fill(self) -> None:
        """Make batches while there is room for them."""
        for stream in self._pullers:
            # Not by its puller, which may be waiting for the next.
            while stream.fetched and self._has_room(stream):
                self._put(stream.pull())
        for puller in tuple(self._pullers.values()):
            puller.resume()

    def _has_room(self, stream: OrderedStream) -> bool:
        return self._wants_more() and self._may_run_ahead(stream)

    def _may_run_ahead(self, stream: OrderedStream) -> bool:
        if stream.ahead >= _AHEAD_PER_SLOT * self._num_slots():
            return False
        # One is always let through, or a stream that feeds another could fill all room and wait for it forever.
        return not stream.ahead or self._may_wait(stream.ahead - len(stream.done))

    def _may_fetch(self, stream: OrderedStream) -> bool:
        most = _FETCHED if self._asleep() else _FETCHED_EARLY if self._none_up() else 0
        return len(stream.fetched) < most

    def _pull(self, stream: OrderedStream) -> None:
        """Take from the source whenever there is room. A coroutine: where the source waits, the reader goes on."""
        try:
            while not (stream.dry and not stream.fetched):
                if stream.fetched and self._has_room(stream):
                    self._put(stream.pull())
                elif not stream.dry and (self._has_room(stream) or self._may_fetch(stream)):
                    try:
                        stream.fetch()
                    except Exception as error:  # noqa: BLE001 raised after the results of what came before it
                        stream.dry, stream.source_error = True, error
                else:
                    self._events.wait()
            stream.exhausted = True
        except Exception as error:  # noqa: BLE001 raised where the stream is read, which may be elsewhere
            stream.error = error
