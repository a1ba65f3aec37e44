"""Why a batch was given up: told of engines that have public input alone, and of no other; without Ray."""

import asyncio
from concurrent.futures import Future

import pytest
from ray.exceptions import RayTaskError

from spti_ray.config import EngineConfig
from spti_ray.models.factory import FAKE
from spti_ray.runtime.hosting.failures import PublicCallFailed
from spti_ray.runtime.ray.engine_actor import AsyncEngineActor, PrivateEngineActor, RendererActor
from spti_ray.runtime.ray.events import _outcome
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.events import Raised
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents
from spti_ray.types import RenderBatch, WriteRequest

SAID = "http://host/v1 answered 400:\n max_tokens"


class Failing:
    """An engine of any role that quotes what it was given."""

    def __init__(self, config):
        pass

    async def write(self, requests):
        raise RuntimeError(SAID)

    def render(self, texts, seeds):
        raise RuntimeError(SAID)

    def caption(self, images):
        raise RuntimeError(SAID)

    def embed_texts(self, texts):
        raise RuntimeError(SAID)


def actor_of(remote, role):
    """The plain object inside an actor class of Ray's."""
    kind = f"{Failing.__module__}:Failing"
    return remote.__ray_metadata__.modified_class.__ray_actor_class__(role, EngineConfig(kind=kind, model="m"))


def raised_by(call) -> Raised:
    """What the driver learns of an actor's exception."""
    with pytest.raises(Exception) as caught:
        call()
    future: Future[None] = Future()
    future.set_exception(RayTaskError("run", "trace", caught.value).as_instanceof_cause())
    outcome = _outcome(future)
    assert isinstance(outcome, Raised)
    return outcome


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, Failing.__module__, sys.modules[__name__])


def test_an_engine_with_public_input_alone_says_in_one_line_why_it_failed():
    said = "RuntimeError: http://host/v1 answered 400: max_tokens"
    writer = actor_of(AsyncEngineActor, "writer")
    assert raised_by(lambda: asyncio.run(writer.run([]))).error == said
    assert (
        raised_by(lambda: asyncio.run(actor_of(RendererActor, "renderer").run(RenderBatch(("a",), (1,))))).error == said
    )


@pytest.mark.parametrize("role", ["captioner", "text_embedder"])
def test_of_an_engine_that_serves_shards_too_only_the_type_is_told_also_on_public_input(role):
    assert raised_by(lambda: actor_of(PrivateEngineActor, role).run(["a"])).error == "RuntimeError"
    assert raised_by(lambda: actor_of(PrivateEngineActor, role).run_private(["a"])).error == "PrivateCallFailed"


def test_a_refusal_is_no_caption_whichever_engine_says_it(monkeypatch):
    said = ["I'm sorry, but I can't help with that.", "Okay, the user wants", "a sorry-looking\n dog", "<think>a"]
    monkeypatch.setattr(Failing, "caption", lambda self, images: said)
    assert actor_of(PrivateEngineActor, "captioner").run_private([1])[0] == ["", "", "a sorry-looking dog", ""]


def test_only_actors_without_private_calls_can_tell():
    for remote in (AsyncEngineActor, RendererActor):
        assert not hasattr(remote.__ray_metadata__.modified_class, "run_private")
    assert str(PublicCallFailed.of(ValueError("x" * 1000))) == "ValueError: " + "x" * 300
    assert str(PublicCallFailed.of(ValueError())) == "ValueError"


def test_the_reason_of_a_given_up_batch_is_logged_and_comes_with_its_missing_texts(caplog):
    def fails(*arguments):
        raise PublicCallFailed("RuntimeError: answered 400: max_tokens")

    events = SimulatedEvents()
    events_call = events.call

    def call(actor, arguments, done):
        def told(outcome):
            done(Raised("RuntimeError: answered 400: max_tokens") if isinstance(outcome, Raised) else outcome)

        events_call(actor, arguments, told)

    events.call = call
    pool = Pool("writer", [SimulatedActor(fails)], events, Limits(attempts=2))
    streams = PooledEngines({"writer": pool}, FAKE)
    answers = list(streams.write(WriteRequest("a", 1, i, 8) for i in range(3)))
    assert [answer.texts for answer in answers] == [()] * 3
    assert {answer.problem for answer in answers} == {"a batch failed 2 times (RuntimeError: answered 400: max_tokens)"}
    assert "batch 0 failed 2 times (RuntimeError: answered 400: max_tokens) and is skipped" in caplog.text
