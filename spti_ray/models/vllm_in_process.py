"""vLLM's engine in a thread of this process, for CPUs.

`AsyncLLM` starts a process for the engine's core, which imports vLLM a second time. On a GPU that pays, since Python's
work on requests goes on beside the steps. On CPU the steps need the cores themselves, and the process costs seconds at
the start and some hundred MB.
"""

from __future__ import annotations

import asyncio
import gc
import queue
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from functools import partial
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import torch
from vllm import RequestOutput, SamplingParams, TokensPrompt
from vllm.engine.arg_utils import EngineArgs
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.engine.llm_engine import LLMEngine

from spti_ray.models.engine_errors import EngineNotBuilt, line_of
from spti_ray.models.no_garbage import no_search_for_garbage

_Done = Future[RequestOutput]
_ENDS_WITHIN_S = 5.0
_LARGE = 1 << 26
"""Bytes of a buffer that is vLLM's cache."""


class EngineInProcess:
    """What the writer needs of `AsyncLLM`, by an `LLMEngine`. One thread, the engine's own, loads the model and
    computes: each thread that calls OpenMP would have a team of its own. What computes nothing, such as the
    configuration, the tokenizer and the count of requests, others ask for too.
    """

    def __init__(self, arguments: EngineArgs, stat_loggers: Any = None) -> None:
        """Load the model.

        Raises:
            EngineNotBuilt: it could not be loaded; one line.
            ValueError: vLLM refuses the arguments, in several lines.
        """
        arguments.disable_log_stats = not stat_loggers
        with no_search_for_garbage(), _model_class_seen_here():
            config = arguments.create_engine_config(UsageContext.ENGINE_CONTEXT)

        def load() -> LLMEngine:
            with _as_before(), _memory_as_it_is_used(), no_search_for_garbage():
                # vLLM looks for garbage five times itself while it loads, for seconds where the libraries are not left
                # out. It leaves out all that is there when it is loaded, until it is shut down.
                gc.freeze()
                return LLMEngine.from_vllm_config(
                    config, stat_loggers=stat_loggers, disable_log_stats=arguments.disable_log_stats
                )

        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: dict[str, _Done] = {}
        self._is_dead = False
        self._is_shut = False
        self._asking = threading.Lock()
        loaded: Future[LLMEngine] = Future()
        # Named after the thread that it works for: by this name a process that ends knows its engines' threads.
        name = f"{threading.current_thread().name}, vLLM"
        self._thread = threading.Thread(target=self._serve, args=(load, loaded), name=name, daemon=True)
        self._thread.start()
        try:
            self._engine = loaded.result()
        except Exception as error:
            raise EngineNotBuilt(f"vLLM could not start its engine: {line_of(error)}") from error
        self.output_processor = self._engine.output_processor

    def get_tokenizer(self) -> Any:
        return self._engine.get_tokenizer()

    async def generate(
        self, prompt: TokensPrompt, sampling: SamplingParams, request_id: str
    ) -> AsyncIterator[RequestOutput]:
        """Give the finished request. Whoever is cancelled meanwhile, or closes this, takes the request back.

        Raises:
            EngineDeadError: a step failed, now or before, or the engine was shut down.
            Exception: vLLM refused the request.
        """
        done: _Done = Future()
        with self._asking:
            if self._is_shut:
                raise EngineDeadError()
            self._orders.put(partial(self._add, request_id, prompt, sampling, done))
        try:
            yield await asyncio.wrap_future(done)
        finally:
            if done.cancel():
                self._orders.put(partial(self._abort, request_id))

    def shutdown(self, timeout: float | None = None) -> None:
        """End the engine, and all requests. A step that is under way is waited for, but not for long."""
        with self._asking:  # so that the last order is the last: nobody asks what nobody will take
            self._is_shut = True
            self._orders.put(None)
        self._thread.join(_ENDS_WITHIN_S if timeout is None else timeout)

    def _serve(self, load: Callable[[], LLMEngine], loaded: Future[LLMEngine]) -> None:
        try:
            engine = self._engine = load()
        except BaseException as error:  # noqa: BLE001 for who waits
            loaded.set_exception(error)
            return
        loaded.set_result(engine)
        goes_on = True
        while goes_on:
            try:
                goes_on = self._take_orders(engine)
                for output in engine.step() if goes_on else ():
                    self._finish(output)
            except BaseException as error:  # noqa: BLE001 whatever it is, nothing is known of the requests
                self._die(error)
        self._die(None)
        engine.engine_core.shutdown()

    def _take_orders(self, engine: LLMEngine) -> bool:
        """Do what was asked; waits for something while there is nothing to compute. Returns False at the end."""
        while True:
            is_idle = self._is_dead or not engine.has_unfinished_requests()
            try:
                order = self._orders.get(block=is_idle)
            except queue.Empty:
                return True
            if order is None:
                return False
            order()

    def _add(self, request_id: str, prompt: TokensPrompt, sampling: SamplingParams, done: _Done) -> None:
        if self._is_dead:
            _tell(done, EngineDeadError())
            return
        try:
            self._engine.add_request(request_id, prompt, sampling)
        except Exception as error:  # noqa: BLE001 for who asked
            _tell(done, error)
        else:
            self._waiting[request_id] = done

    def _abort(self, request_id: str) -> None:
        if self._waiting.pop(request_id, None) is not None:
            self._engine.abort_request([request_id])

    def _finish(self, output: Any) -> None:
        if output.finished and (done := self._waiting.pop(output.request_id, None)) is not None:
            with suppress(InvalidStateError):  # nobody waits any more
                done.set_result(output)

    def _die(self, error: BaseException | None) -> None:
        """Take no more requests, and tell all who wait; `error` is why, None at the end."""
        self._is_dead = True
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            failure = EngineDeadError()
            failure.__cause__ = error
            _tell(done, failure)


def _tell(done: _Done, error: Exception) -> None:
    with suppress(InvalidStateError):  # nobody waits any more
        done.set_exception(error)


@contextmanager
def _as_before() -> Iterator[None]:
    """Put back what vLLM takes away or sets for the whole process. In a local run that is the driver's too, where the
    renderer sets its threads, and the pauses of two drivers that write to one ledger must differ."""
    set_num_threads, drawn = torch.set_num_threads, random.getstate()
    try:
        yield
    finally:
        torch.set_num_threads = set_num_threads
        random.setstate(drawn)


@contextmanager
def _model_class_seen_here() -> Iterator[None]:
    """Let vLLM look at the model's class in this process. The first time it would start another for that, which imports
    vllm for ten seconds and more, so that no GPU is touched here. A vLLM that has no such function does as it likes.
    """
    try:
        from vllm.model_executor.models import registry

        in_a_process = registry._run_in_subprocess
    except (ImportError, AttributeError):
        yield
        return
    registry._run_in_subprocess = lambda look: look()
    try:
        yield
    finally:
        registry._run_in_subprocess = in_a_process


@contextmanager
def _memory_as_it_is_used() -> Iterator[None]:
    """Let vLLM's cache take memory block by block: it is mostly a small part of it that is ever used."""
    zeros = torch.zeros

    def mapped(*size: Any, **options: Any) -> torch.Tensor:
        is_here = torch.device("cpu" if (device := options.get("device")) is None else device).type == "cpu"
        is_cache = options.get("dtype") is torch.int8 and len(size) == 1 and isinstance(size[0], int)
        if not is_here or not is_cache or size[0] < _LARGE:
            return zeros(*size, **options)
        # Pages that nobody has written to are zeros.
        return torch.frombuffer(mmap(-1, size[0], flags=MAP_PRIVATE | MAP_ANONYMOUS), dtype=torch.int8)

    torch.zeros = mapped
    try:
        yield
    finally:
        torch.zeros = zeros
