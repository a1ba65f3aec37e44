"""What the driver knows of shards on Ray without waiting for them, and how they end."""

from types import SimpleNamespace

import pytest
from ray.exceptions import ActorUnavailableError

from spti_ray.models.factory import FAKE
from spti_ray.private.shard import Prepared
from spti_ray.runtime.ray import executor, shard_actor
from spti_ray.runtime.ray.executor import RaySession
from spti_ray.runtime.ray.shard_actor import RayVoter
from tests.unit.conftest import config_with

LOST = ActorUnavailableError("away", b"0" * 16)
VIEWS = Prepared([], can_vote=True)


@pytest.fixture
def answers(monkeypatch):
    """What became of the calls so far, by call; a shard's first one is its number."""
    known = {}

    def get(calls):
        for call in calls:
            if isinstance(known[call], Exception):
                raise known[call]
        return [known[call] for call in calls]

    def wait(calls, num_returns, timeout):
        return [call for call in calls if call in known], [call for call in calls if call not in known]

    monkeypatch.setattr(shard_actor, "ray", SimpleNamespace(get=get, wait=wait))
    return known


def voter(count):
    shards = [SimpleNamespace(prepare=SimpleNamespace(remote=lambda number=number: number)) for number in range(count)]
    return RayVoter(shards, lambda problems: None)


def test_shards_prepare_until_each_of_them_has_its_views(answers):
    shards = voter(3)
    assert shards.num_preparing == 3
    answers[1] = VIEWS
    assert shards.num_preparing == 2
    answers |= {0: VIEWS, 2: VIEWS}
    assert shards.num_preparing == 0


def test_a_shard_that_was_lost_has_no_views_and_needs_engines_for_them_again(answers):
    shards = voter(2)
    answers |= {0: VIEWS, 1: LOST}
    assert shards.num_preparing == 1


def test_a_run_without_shards_waits_for_none(answers):
    assert voter(0).num_preparing == 0


@pytest.mark.parametrize("how", ["given back", "the run ends"])
def test_shards_are_ended_before_their_resources_go_and_once(monkeypatch, how):
    """Ray would start them anew, for which there would be no room."""
    did = []
    monkeypatch.setattr(
        executor, "ray", SimpleNamespace(is_initialized=lambda: True, kill=lambda shard: did.append(f"{shard} ended"))
    )
    monkeypatch.setattr(executor, "start_shards", lambda *given: ["shard 0", "shard 1"])
    monkeypatch.setattr(executor, "RayVoter", lambda *given: None)
    reserved = SimpleNamespace(give_back=lambda role: did.append(f"{role} given back"))

    class Cluster:
        def __enter__(self):
            return reserved

        def __exit__(self, *error):
            did.append("all given back")

    class Metrics:
        def __init__(self, *given):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(executor, "cluster", lambda *given: Cluster())
    monkeypatch.setattr(executor, "Metrics", Metrics)
    config = config_with()
    shards = executor.VotingShards(config, "views", "key", "listing")
    with (
        pytest.raises(KeyboardInterrupt),
        executor.RayExecutor().open(config, FAKE, "run", 1, 1.0, ()) as session,
    ):
        assert isinstance(session, RaySession)
        session._engines = None
        session.start_shards(shards, lambda problems: None)
        if how == "given back":
            session.give_back("shard")
        raise KeyboardInterrupt
    ended = ["shard 0 ended", "shard 1 ended"]
    assert did == [*ended, *(["shard given back"] if how == "given back" else []), "all given back"]
