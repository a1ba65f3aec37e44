"""Engines of local runs: who is in which process, what becomes of their errors, and which are kept."""

from __future__ import annotations

import os
from queue import SimpleQueue

import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.factory import FAKE
from spti_ray.models.protocols import EngineDead
from spti_ray.runtime.hosting import engine as hosting
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES
from spti_ray.runtime.local.engine import EngineHere, outcome_of
from spti_ray.runtime.local.engines import Engines, engines_of_run, kept_engines
from spti_ray.runtime.local.events import LocalEvents
from spti_ray.runtime.local.process import Process
from spti_ray.runtime.scheduling.engine_info import EngineFailed
from spti_ray.runtime.scheduling.events import Finished, Lost, Raised
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.types import RenderBatch, WriteRequest

HERE = "tests.unit.runtime.local.test_engines"
REQUEST = [WriteRequest("a red cat", 1, 0, 8)]


class Writer:
    """Fails as its option `error` says, with all that it was given."""

    def __init__(self, config):
        self._error = {"EngineDead": EngineDead, "SystemExit": SystemExit, "OSError": OSError}[config.options["error"]]

    def identity(self):
        return {"kind": "test", "model": "SIMULATED", "revision": "1"}

    async def write(self, requests):
        raise self._error(f"on {requests[0].prompt}\nat once")


class Hanging(Writer):
    async def write(self, requests):
        import asyncio

        await asyncio.sleep(3600)


def writer(error: str, kind: str = "Writer") -> EngineConfig:
    return EngineConfig(kind=f"{HERE}:{kind}", model="SIMULATED", options={"error": error})


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("OSError", Raised("OSError: on a red cat at once")),
        ("EngineDead", Lost(gone="it died; the same command goes on with the run")),
        ("SystemExit", Lost(gone="it died; the same command goes on with the run")),
    ],
)
def test_a_public_engine_says_why_it_failed_and_one_that_died_is_gone(error, outcome):
    engine = EngineHere("writer", writer(error))
    try:
        future = engine.run((REQUEST,))
        future.exception(30)
        assert outcome_of(future) == outcome
        assert engine.is_fit_to_keep is False
    finally:
        engine.close()


def test_results_come_in_the_order_of_the_batches_and_with_their_seconds(monkeypatch):
    # By several threads the PNG of a later batch may be there first, and the pool puts results in order.
    monkeypatch.setattr(hosting, "threads_beside", lambda config: 1)
    engine = EngineHere("renderer", FAKE.renderer)
    try:
        assert engine.ready().result(30)["model"] == "SIMULATED"
        came: SimpleQueue[int] = SimpleQueue()
        futures = [engine.run((RenderBatch(("a red cat",), (seed,)),)) for seed in range(4)]
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: came.put(number))
        for future in futures:
            future.result(30)
            outcome = outcome_of(future)
            assert isinstance(outcome, Finished) and outcome.seconds >= 0
            assert outcome.result[0].startswith(b"\x89PNG")
        # Who waits for a result has it a moment before what is called with it.
        assert [came.get(timeout=30) for _ in range(4)] == list(range(4))
    finally:
        engine.close()


def pool_of(engine, events, **limits):
    return Pool("writer", [engine], events, Limits(**limits))


def test_a_hung_engine_ends_the_run_in_one_line(monkeypatch):
    monkeypatch.setattr("spti_ray.runtime.scheduling.pool._LOOK_S", 0.05)
    engine = EngineHere("writer", writer("OSError", "Hanging"))
    pool = pool_of(engine, LocalEvents(lambda engine: None), batch_timeout_s=0.2)
    with pytest.raises(EngineFailed, match="the writer could not be started: it hangs; the same command goes on"):
        list(pool.map([(REQUEST,)]))
    assert not engine.is_fit_to_keep
    engine.close()


def test_a_model_that_is_not_there_is_told_by_its_setting():
    missing = FAKE.writer.model_copy(update={"kind": "nowhere:Writer"})
    engine = EngineHere("writer", missing)
    with pytest.raises(EngineFailed, match=r"the writer could not be started: .*runtime.engines.writer.kind: can't"):
        list(pool_of(engine, LocalEvents(lambda engine: None)).map([(REQUEST,)]))
    engine.close()


def test_engines_are_kept_for_who_asks_for_the_same_and_only_there():
    with kept_engines() as kept:
        with engines_of_run() as first:
            first.prepare({"writer": FAKE.writer}, {"text_embedder": FAKE.text_embedder})
            engine, pid = first.here("writer", FAKE.writer), first.process.pid
            first.private("text_embedder", FAKE.text_embedder, PRIVATE_ROLES).ready().result(240)
        with engines_of_run() as second:
            second.prepare({"writer": FAKE.writer}, {"text_embedder": FAKE.text_embedder})
            assert second is kept and second.here("writer", FAKE.writer) is engine and second.process.pid == pid
            other = FAKE.writer.model_copy(update={"batch_size": 3})
            assert second.here("writer", other) is not engine
    with engines_of_run() as alone:
        assert alone is not kept and alone.here("writer", FAKE.writer) is not engine


def test_an_engine_of_a_tests_own_and_one_that_died_are_not_kept():
    with kept_engines() as kept:
        with engines_of_run():
            own = kept.here("writer", writer("OSError"))
        assert kept.here("writer", writer("OSError")) is not own


def test_a_process_of_another_environment_is_another(monkeypatch):
    engines = Engines(kept=True)

    def process_of(threads: int) -> Process:
        engines.prepare({"writer": FAKE.writer}, {"captioner": FAKE.captioner.model_copy(update={"threads": threads})})
        engines.end_run()
        return engines.process

    try:
        first = process_of(1)
        assert process_of(1) is first
        second = process_of(2)
        assert second is not first
        monkeypatch.setenv("OF_A_TEST", "1")
        third = process_of(2)
        assert third is not second
        third.kill()
        third.ask("forget_shards").exception(20)
        assert process_of(2) is not third, "one that ended is of no use"
    finally:
        engines.close()


def test_variables_for_public_engines_are_set_for_the_run_and_put_back(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    remote = EngineConfig(kind="diffusers", model="somebody/model", threads=3)
    engines = Engines()
    engines.prepare({"writer": FAKE.writer, "renderer": remote}, {})
    assert os.environ["TQDM_DISABLE"] == "1" and os.environ["OMP_WAIT_POLICY"] == "passive"
    assert int(os.environ["OMP_NUM_THREADS"]) >= 3
    assert "HF_HUB_OFFLINE" not in os.environ, "one of them may download its model"
    engines.end_run()
    assert os.environ["TQDM_DISABLE"] == "0" and "OMP_WAIT_POLICY" not in os.environ
