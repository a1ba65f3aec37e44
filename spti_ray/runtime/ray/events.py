"""`Events` of actors on Ray: calls go out as actor tasks, and what comes back is queued for the driver's thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ObjectLostError, RayActorError, RayError, RayTaskError

from spti_ray.runtime.hosting.failures import PublicCallFailed, in_own_words
from spti_ray.runtime.ray.images import ImagesInStore, to_send
from spti_ray.runtime.scheduling.events import Events, Finished, InputLost, Lost, Outcome, Raised, Up
from spti_ray.types import ImageBatch, RenderBatch

_LOOK_UP_S = 1.0
"""A waiting driver looks up this often, so that signals are handled soon."""


class RayEvents(Events):
    """Each call costs the driver the same however many are under way: nothing scans what is in flight."""

    def __init__(self) -> None:
        super().__init__()
        self._came: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._under_way = 0
        self._nodes: dict[Any, str] = {}

    def now(self) -> float:
        return time.monotonic()

    def call(self, actor: Any, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        batch = arguments[0] if len(arguments) == 1 else None
        if isinstance(batch, RenderBatch):
            # The images stay where they are: what comes here is a reference to them and their lengths.
            images, told = actor.run_apart.remote(batch)
            self._when_done(told, lambda future: done(_rendered(images, _outcome(future))))
            return
        if isinstance(batch, ImageBatch):
            places, parts = to_send(batch)
            reference = actor.run_images.remote(places, *parts)
        else:
            reference = actor.run.remote(*arguments)
        self._when_done(reference, lambda future: done(_outcome(future)))

    def call_several(self, actor: Any, batches: Sequence[tuple[tuple[Any, ...], Callable[[Outcome], None]]]) -> None:
        given = [arguments[0] for arguments, _ in batches]
        images: Sequence[Any] = ()
        if isinstance(given[0], RenderBatch):
            *images, told = actor.run_several_apart.options(num_returns=len(given) + 1).remote(given)
        elif isinstance(given[0], ImageBatch):
            places, parts = to_send([image for batch in given for image in batch])
            told = actor.run_several_images.remote([len(batch) for batch in given], places, *parts)
        else:
            told = actor.run_several.remote(given)

        def back(future: Future[Any]) -> None:
            for number, outcome in enumerate(_outcomes(_outcome(future), len(batches))):
                batches[number][1](_rendered(images[number], outcome) if images else outcome)

        self._when_done(told, back)

    def ready(self, actor: Any, done: Callable[[Up | Lost], None]) -> None:
        def answer(future: Future[Any]) -> None:
            outcome = _outcome(future)
            if isinstance(outcome, Finished):
                before, now = self._nodes.get(actor), outcome.result
                self._nodes[actor] = now
                done(Up(lost_its_node=before is not None and before != now and not _alive(before)))
            else:
                done(outcome if isinstance(outcome, Lost) else Lost())

        # Every actor of Ray's has this method.
        self._when_done(actor.__ray_call__.remote(_node), answer)

    def identity(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        self._when_done(actor.__ray_call__.remote(_identity), lambda future: done(_outcome(future)))

    def wake(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        self._when_done(actor.wake.remote(), lambda future: done(_in_words(future)))

    def sleep(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        self._when_done(actor.sleep.remote(), lambda future: done(_in_words(future)))

    def kill(self, actor: Any, for_good: bool) -> None:
        ray.kill(actor, no_restart=for_good)

    def _when_done(self, reference: Any, act: Callable[[Future[Any]], None]) -> None:
        self._under_way += 1
        future = reference.future()
        # Called on a thread of Ray's, which must not be kept.
        future.add_done_callback(lambda done: self._came.put(lambda: act(done)))

    def _next(self, until: float | None) -> bool:
        if not self._under_way and until is None:
            return False
        left = None if until is None else max(0.0, until - self.now())
        try:
            act = self._came.get(timeout=_LOOK_UP_S if left is None else min(left, _LOOK_UP_S))
        except queue.Empty:
            return True
        while True:
            self._under_way -= 1
            act()
            try:
                act = self._came.get_nowait()
            except queue.Empty:
                return True


def _outcomes(outcome: Outcome, count: int) -> list[Outcome]:
    """Of each batch of a call: its own, if the call came back."""
    if not isinstance(outcome, Finished):
        return [outcome] * count
    return [Finished(*what) if went_well else Raised(what) for went_well, what in outcome.result]


def _rendered(images: Any, told: Outcome) -> Outcome:
    return Finished(ImagesInStore(images, told.result), told.seconds) if isinstance(told, Finished) else told


def _node(actor: Any) -> str:
    """Where this actor is; runs in its process."""
    del actor
    return ray.get_runtime_context().get_node_id()


def _identity(actor: Any) -> dict[str, str]:
    """What this actor runs; in its process."""
    return actor.identity()


def _alive(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def _outcome(future: Future[Any]) -> Outcome:
    error = future.exception()
    if error is None:
        result = future.result()
        return Finished(*result) if isinstance(result, tuple) else Finished(result, 0.0)
    if isinstance(error, RayTaskError):
        if isinstance(error.cause, ObjectLostError):
            return InputLost()
        if isinstance(getattr(error, "cause", None), PublicCallFailed):
            return Raised(str(error.cause))
        return Raised(type(error.cause).__name__ if getattr(error, "cause", None) else "error")
    if isinstance(error, RayActorError):
        return _lost(error)
    if isinstance(error, RayError):
        return Lost(preempted=True)  # The result was lost with its node before it got here.
    raise error


def _in_words(future: Future[Any]) -> Outcome:
    """What became of waking an actor or putting it to sleep; only those do so that see public input alone."""
    outcome = _outcome(future)
    cause = getattr(future.exception(), "cause", None)
    if not isinstance(outcome, Raised) or cause is None:
        return outcome
    text = " ".join(str(cause).split())[:300]
    return Raised(f"{outcome.error}: {text}" if text else outcome.error)


def _lost(error: RayActorError) -> Lost:
    """What the loss of an actor means. One that Ray starts again is only unavailable; a dead one stays dead."""
    gone = (creation_failure(error) or "its process died") if isinstance(error, ActorDiedError) else None
    return Lost(preempted=error.preempted, gone=gone)


def creation_failure(error: BaseException) -> str:
    """The last line of the exception that an actor's constructor raised, or empty if it died otherwise."""
    text = str(error)
    if "creation task" not in text and "__init__" not in text:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return in_own_words(lines[-1]) if lines else "unknown reason"
