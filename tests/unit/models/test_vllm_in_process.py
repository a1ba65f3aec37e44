"""vLLM's engine in a thread of this process: who waits is answered, whatever becomes of it.

vLLM itself is stood in for; with the real one: tests/e2e/test_engines.py.
"""

import asyncio
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

import spti_ray.models
from spti_ray.runtime.hosting.threads import ENGINE_THREAD
from spti_ray.runtime.local.leaving import engines_at_work

pytestmark = pytest.mark.models

NAMES = {
    "vllm": ("RequestOutput", "SamplingParams", "TokensPrompt"),
    "vllm.engine.arg_utils": ("EngineArgs",),
    "vllm.model_executor.models": ("registry",),
    "vllm.usage.usage_lib": ("UsageContext",),
    "vllm.v1.engine.exceptions": ("EngineDeadError",),
    "vllm.v1.engine.llm_engine": ("LLMEngine",),
}


class Engine:
    """Finishes a request named "short" at its next step, and others never; "bad" it can't take back."""

    def __init__(self):
        self.output_processor, self.engine_core = None, SimpleNamespace(shutdown=lambda: None)
        self.unfinished = set()
        self.is_held, self.may_step = threading.Event(), threading.Event()
        self.may_step.set()

    def has_unfinished_requests(self):
        return bool(self.unfinished)

    def add_request(self, request_id, prompt, sampling):
        self.unfinished.add(request_id)

    def abort_request(self, request_ids):
        self.unfinished -= {*request_ids}
        if "bad" in request_ids:
            raise KeyError("bad")

    def step(self):
        if not self.may_step.is_set():
            self.is_held.set()  # for certain: it goes on only once it may
            assert self.may_step.wait(30)
        done = self.unfinished & {"short"}
        self.unfinished -= done
        return [SimpleNamespace(request_id=request_id, finished=True) for request_id in done]


@pytest.fixture
def module(monkeypatch):
    """The module, with `Engine` for vLLM's."""
    for name in {".".join(name.split(".")[:count]) for name in NAMES for count in range(1, 5)}:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, things in NAMES.items():
        for thing in things:
            setattr(sys.modules[name], thing, type(thing, (Exception,), {"ENGINE_CONTEXT": None}))
    sys.modules["vllm.v1.engine.llm_engine"].LLMEngine.from_vllm_config = lambda config, **options: Engine()
    file = Path(spti_ray.models.__path__[0]) / "vllm_in_process.py"
    spec = importlib.util.spec_from_file_location("vllm_in_process_alone", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def engine(module):
    engine = module.EngineInProcess(SimpleNamespace(create_engine_config=lambda context: None))
    yield engine
    engine._engine.may_step.set()
    engine.shutdown()
    assert not engine._thread.is_alive()


async def answer(engine, request_id):
    """What becomes of a request: its output, or what is raised."""
    async with asyncio.timeout(10):
        try:
            return await anext(engine.generate({}, None, request_id))
        except (sys.modules["vllm.v1.engine.exceptions"].EngineDeadError, KeyError) as error:
            return error


async def under_way(engine, request_id):
    """A request that the engine has begun."""
    asked = asyncio.create_task(answer(engine, request_id))
    while request_id not in engine._engine.unfinished:
        await asyncio.sleep(0.001)
    return asked


def test_what_an_order_raises_is_the_end_of_the_engine_and_all_who_wait_are_told(engine, module):
    async def asked():
        assert (await answer(engine, "short")).finished
        waiting, bad = await under_way(engine, "long"), await under_way(engine, "bad")
        bad.cancel()
        return await waiting, await answer(engine, "short")

    told, later = asyncio.run(asked())
    assert isinstance(told, module.EngineDeadError) and isinstance(told.__cause__, KeyError)
    assert isinstance(later, module.EngineDeadError)


def test_a_shut_engine_tells_all_who_wait_and_all_who_come_later(engine, module):
    async def asked():
        waiting = await under_way(engine, "long")
        engine._engine.may_step.clear()
        # With an end: a thread of asyncio's that waits for ever keeps the process, whatever pytest's timeout says.
        assert await asyncio.to_thread(engine._engine.is_held.wait, 10)
        not_begun = asyncio.create_task(answer(engine, "other"))
        while engine._orders.empty():
            await asyncio.sleep(0.001)
        engine.shutdown(0.0)
        after = await answer(engine, "short")
        engine._engine.may_step.set()
        return [await waiting, await not_begun, after, await answer(engine, "short")]

    assert [type(told) for told in asyncio.run(asked())] == [module.EngineDeadError] * 4


def test_the_class_of_a_model_is_looked_at_without_another_process(module):
    registry = sys.modules["vllm.model_executor.models"].registry

    def in_a_process(look):
        raise AssertionError("another process would be started")

    def configured(context):
        return registry._run_in_subprocess(lambda: seen.append(context))

    seen, registry._run_in_subprocess = [], in_a_process
    module.EngineInProcess(SimpleNamespace(create_engine_config=configured)).shutdown()
    assert seen == [module.UsageContext.ENGINE_CONTEXT]
    assert registry._run_in_subprocess is in_a_process


def test_a_process_that_ends_knows_that_the_thread_is_an_engines(module):
    made = []
    arguments = SimpleNamespace(create_engine_config=lambda context: None)
    maker = threading.Thread(
        target=lambda: made.append(module.EngineInProcess(arguments)), name=f"{ENGINE_THREAD}writer"
    )
    before = set(threading.enumerate())
    maker.start()
    maker.join()
    (thread,) = set(threading.enumerate()) - before
    assert thread.name.startswith(ENGINE_THREAD) and engines_at_work()
    made[0].shutdown()
    assert not thread.is_alive()


def test_only_the_caches_memory_on_cpu_is_taken_as_it_is_used(module, monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 1 << 12)
    mapped, monkeypatched = [], module.mmap
    monkeypatch.setattr(module, "mmap", lambda *given, **more: mapped.append(given) or monkeypatched(*given, **more))
    with module._memory_as_it_is_used():
        assert torch.zeros(1 << 12, dtype=torch.int8, device="meta").device.type == "meta"
        assert torch.zeros(1 << 12).dtype == torch.float32 and not mapped
        for device in (None, "cpu", torch.device("cpu")):
            assert not torch.zeros(1 << 12, dtype=torch.int8, device=device).any()
    assert len(mapped) == 3
