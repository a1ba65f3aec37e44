"""The private process of a local run, seen from inside: engines that serve shards, the shards, and the trainer.

It does one thing at a time, in the order in which it is asked, and is silent from its first line to its last. What
goes back is a result, or an error as free of content as an actor's. It ends when its driver does, however that ends.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from spti_ray.config import Config, EngineConfig, EnginesConfig, Role
from spti_ray.models.writable_home import set_home_and_user
from spti_ray.private.output_suppression import suppress_output_permanently
from spti_ray.runtime.executor import CaptionShards, VotingShards
from spti_ray.runtime.hosting.captions import CaptionHost
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES, UNPROTECTED_ROLES, PrivateEngineHost, StartMarks
from spti_ray.runtime.hosting.failures import start_failure
from spti_ray.runtime.hosting.shard import Ask, ShardHost
from spti_ray.runtime.hosting.trainer import TrainerHost, public_failure
from spti_ray.runtime.voter import failure_of

_LOOK_S = 0.5
"""How often it looks whether its driver is still there."""


class CallFailed(RuntimeError):
    """What was asked of the private process failed; one line without private content."""


class PrivateProcess:
    """What the driver may ask for: each public method, by its name."""

    def __init__(self) -> None:
        self._engines: dict[str, PrivateEngineHost] = {}
        self._shards: dict[int, ShardHost | CaptionHost] = {}

    def load(self, key: str, role: Role, config: EngineConfig, serving: tuple[Role, ...]) -> dict[str, str]:
        """Have an engine under this key, unless it is there already; returns what it runs.

        Raises:
            CallFailed: why it can't be had. It has not seen anything private yet.
        """
        if key not in self._engines:
            try:
                self._engines[key] = PrivateEngineHost(role, config, serving)
            except BaseException as error:  # noqa: BLE001 an engine may raise anything
                raise CallFailed(start_failure(error)) from None
        return self.identity(key)

    def identity(self, key: str) -> dict[str, str]:
        """What the engine runs. Raises CallFailed with the type of what it raised."""
        return _only_the_type(self._engines[key].identity)

    def start_marks(self, key: str) -> StartMarks:
        """How the engine started."""
        return _only_the_type(self._engines[key].start_marks)

    def run(self, key: str, arguments: tuple[Any, ...]) -> tuple[Any, float]:
        """One public batch: the engine's result and its busy seconds. Raises CallFailed as `identity` does."""
        return _only_the_type(lambda: self._engines[key].run(*arguments))

    def drop(self, key: str) -> None:
        """Free an engine."""
        engine = self._engines.pop(key, None)
        if engine is not None:
            engine.close()

    def start_shard(
        self, number: int, shards: VotingShards | CaptionShards, keys: dict[Role, str], engines: EnginesConfig
    ) -> None:
        """Have the shard of this number; `keys` are those of the engines that it may call.

        Raises:
            CallFailed: one line without private content.
        """
        try:
            self._shards[number] = self._shard(number, shards, keys, engines)
        except BaseException as error:  # noqa: BLE001
            raise CallFailed(f"shard {number} could not be started: {failure_of(error, 'starting')}") from None

    def ask_shard(self, number: int, method: str, arguments: tuple[Any, ...]) -> Any:
        """The answer of a shard: PRIVATE, for the driver's memory and the gate. Raises CallFailed as `start_shard`."""
        try:
            return getattr(self._shards[number], method)(*arguments)
        except BaseException as error:  # noqa: BLE001
            raise CallFailed(failure_of(error, f"shard {number}: {method}")) from None

    def forget_shards(self) -> None:
        """Let go of all that is private: the run is over, or needs no more votes."""
        self._shards.clear()

    def train(self, config: Config, run: str, run_id: str) -> None:
        """See `TrainerHost.train`. Raises what `public_failure` lets through."""
        try:
            TrainerHost().train(config, run, run_id)
        except BaseException as error:  # noqa: BLE001
            failure = public_failure(error)
        else:
            return
        # After the handler: the training's own exception must not become its context.
        raise failure

    def _shard(
        self, number: int, shards: VotingShards | CaptionShards, keys: dict[Role, str], engines: EnginesConfig
    ) -> ShardHost | CaptionHost:
        config = shards.config
        roles = UNPROTECTED_ROLES if isinstance(shards, CaptionShards) else PRIVATE_ROLES
        asked = {role: self._asking(keys[role]) for role in roles if role in keys}
        if isinstance(shards, CaptionShards):
            return CaptionHost(config, number, asked, engines.captioner.batch_size, shards.images)
        first: Role = "image_embedder" if "image" in config.evolution.spaces else "captioner"
        where = shards.views, shards.key, shards.listing, shards.survey
        return ShardHost(config, number, asked, engines.of(first).batch_size, *where)

    def _asking(self, key: str) -> Ask:
        return lambda *batch: self._engines[key].run_private(*batch)[0]


def _only_the_type(call: Callable[[], Any]) -> Any:
    """The rule for engines that serve shards: of an error on public input too, nothing but its type is told."""
    try:
        return call()
    except BaseException as error:  # noqa: BLE001
        failure = type(error).__name__
    raise CallFailed(failure)


def answer(process: PrivateProcess, method: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """(whether it went well, the result or the error) of what was asked."""
    try:
        return True, getattr(process, method)(*arguments)
    except Exception as error:  # noqa: BLE001 its methods let nothing else out
        return False, type(error)(*error.args)


def _send(connection: Connection, number: int, done: tuple[bool, Any]) -> None:
    try:
        connection.send((number, *done))
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)
    except Exception as error:  # noqa: BLE001 what can't be sent would be quoted
        connection.send((number, False, CallFailed(f"the answer can't be sent ({type(error).__name__})")))


def _end_with(parent: int) -> None:
    """End when the driver does; a pipe alone would stay open as long as any child of the driver's holds it."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(0)


def main(descriptor: int, parent: int) -> None:
    """Answer what comes in, until the other end is closed or the driver is gone."""
    suppress_output_permanently()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which then closes the connection
    set_home_and_user()
    connection = Connection(descriptor)
    asked: queue.SimpleQueue[tuple[int, str, tuple[Any, ...]]] = queue.SimpleQueue()

    def receive() -> None:
        while True:
            try:
                asked.put(connection.recv())
            except (EOFError, OSError):
                os._exit(0)

    for act in (receive, lambda: _end_with(parent)):
        threading.Thread(target=act, daemon=True).start()
    process = PrivateProcess()
    while True:
        number, method, arguments = asked.get()
        _send(connection, number, answer(process, method, arguments))
