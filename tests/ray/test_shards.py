"""Private shards as Ray actors: the same clean counts as without Ray, whatever dies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image

from spti_ray.config import Config
from spti_ray.models.factory import FAKE
from spti_ray.models.fakes import FakeImageEmbedder
from spti_ray.private.shard import Prepared, Shard
from spti_ray.private.source import describe, fingerprint
from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.ray import shard_actor
from spti_ray.runtime.ray.engine_actor import PrivateEngineActor
from spti_ray.runtime.ray.launch import actor_name
from spti_ray.runtime.ray.shard_actor import RayVoter, ShardActor
from spti_ray.runtime.scheduling.retries import Backoff
from spti_ray.runtime.voter import ShardFailed
from spti_ray.types import Candidate, Candidates, ScoredCandidates
from spti_ray.votes import Query

pytestmark = pytest.mark.usefixtures("ray_cluster")


def _config(folder: Path, shards: int) -> Config:
    return Config.model_validate(
        {
            "data": {"path": str(folder)},
            "dataset": {"id": "toys"},
            "privacy": {"epsilon": 1.0, "delta": 1e-5},
            "evolution": {"generations": 1, "candidates": 5},
            "prompts": {"domain": "toys"},
            "release": {"images": 1},
            "runtime": {"shards": shards, "engines": "fake"},
        }
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for i in range(23):
        pixels = np.full((20, 20, 3), rng.integers(0, 255, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    (folder / "99.png").write_bytes(b"no image")
    return folder


def _scored() -> ScoredCandidates:
    rng = np.random.default_rng(5)
    flat = [np.full((20, 20, 3), rng.integers(0, 255, 3), dtype=np.uint8) for _ in range(5)]
    rows_KE = FakeImageEmbedder(FAKE.image_embedder).embed_images(flat)
    candidates = Candidates(tuple(Candidate(f"g00-{i}", f"text {i}", "all", 0) for i in range(5)))
    return ScoredCandidates(candidates, {"image": rows_KE}, {"image": 1.0})


def _actors(config: Config, tmp_path: Path, name: str, listing: str | None = None) -> list[Any]:
    embedder = Bundle("image_embedder", 0, 0.1, 0)
    options = {"name": actor_name(name, embedder), "num_cpus": 0.1, "max_restarts": -1, "max_task_retries": 0}
    handle = PrivateEngineActor.options(**options).remote("image_embedder", FAKE.image_embedder)
    ray.get(handle.__ray_ready__.remote())
    serving = {"image_embedder": [actor_name(name, embedder)]}
    shards = [
        ShardActor.options(num_cpus=0.1, max_restarts=-1, max_task_retries=0).remote(
            config, i, serving, 4, str(tmp_path / "views"), "key", listing
        )
        for i in range(config.runtime.shards)
    ]
    _keep.append(handle)
    return shards


_keep: list[Any] = []
"""Named actors live as long as a handle to them."""


def _sum(voter: RayVoter) -> list[int]:
    query = Query("run-1", 2, _scored().sha256())
    votes = list(voter.vote(query, _scored(), 1))
    assert {vote.query for vote in votes} == {query}
    return np.sum([vote.counts_K for vote in votes], axis=0).tolist()


def _expected(config: Config, folder: Path) -> list[int]:
    """The counts of one shard in this process, without Ray."""
    shard = Shard(
        config.data,
        shard_id=0,
        num_shards=1,
        label_names=config.evolution.label_names,
        spaces=("image",),
        cache=folder / "expected",
        fingerprint="f",
        batch_size=4,
    )
    shard.prepare(FakeImageEmbedder(FAKE.image_embedder).embed_images)
    return shard.vote("run-1", 2, _scored(), 1).counts_K.tolist()


def test_shards_on_ray_count_what_one_shard_counts_and_tell_problems_once(images, tmp_path):
    config, told = _config(images, 3), []
    voter = RayVoter(_actors(config, tmp_path, "plain"), told.append)
    voter.ready()
    voter.ready()
    assert told == [[(23, "not an image")]]
    assert _sum(voter) == _expected(config, tmp_path)
    assert sum(_expected(config, tmp_path)) == 23


def test_a_killed_shard_or_embedder_changes_no_count(images, tmp_path):
    config = _config(images, 2)
    shards = _actors(config, tmp_path, "killed")
    voter = RayVoter(shards, lambda problems: None)
    voter.ready()
    ray.kill(shards[0], no_restart=False)
    ray.kill(_keep[-1], no_restart=False)
    assert _sum(voter) == _expected(config, tmp_path)
    for cached in (tmp_path / "views").iterdir():
        cached.unlink()
    ray.kill(shards[1], no_restart=False)
    assert _sum(voter) == _expected(config, tmp_path), "without the cache the views are made again"


@pytest.mark.slow
def test_an_engine_that_came_later_serves_shards_too_and_one_that_went_for_good_is_not_asked(images, tmp_path):
    config = _config(images, 1)
    (shard,) = _actors(config, tmp_path, "later")
    voter = RayVoter([shard], lambda problems: None)
    voter.ready()
    assert voter.num_preparing == 0
    options = {"name": actor_name("later", Bundle("image_embedder", 7, 0.1, 0)), "num_cpus": 0.1}
    later = PrivateEngineActor.options(**options).remote("image_embedder", FAKE.image_embedder)
    ray.get(later.__ray_ready__.remote())
    ray.kill(_keep[-1], no_restart=True)
    for cached in (tmp_path / "views").iterdir():
        cached.unlink()
    ray.kill(shard, no_restart=False)
    assert _sum(voter) == _expected(config, tmp_path), "only the later one can have made the views"


@pytest.mark.slow
def test_candidates_that_were_shown_ahead_change_no_count_whatever_dies_in_between(images, tmp_path):
    config = _config(images, 2)
    shards = _actors(config, tmp_path, "ahead")
    voter = RayVoter(shards, lambda problems: None)
    voter.show(2, _scored().only([i != 3 for i in range(5)]), 1)
    assert _sum(voter) == _expected(config, tmp_path)
    voter.show(2, _scored().only([i != 3 for i in range(5)]), 1)
    ray.kill(shards[0], no_restart=False)
    voter.show(2, _scored().only([i == 3 for i in range(5)]), 1)
    assert _sum(voter) == _expected(config, tmp_path)


@ray.remote(num_cpus=0.01, max_restarts=-1, max_task_retries=0)
class Answering:
    """Stands for a shard: it answers, or is lost at each call."""

    def __init__(self, number: int) -> None:
        self._number = number

    def prepare(self) -> Prepared:
        if self._number == 0:
            os._exit(41)
        return Prepared([(self._number, "not an image")], can_vote=True)


def test_while_a_lost_shard_is_not_asked_again_yet_the_others_are_heard(monkeypatch):
    monkeypatch.setattr(shard_actor, "PRIVATE_CALL", Backoff(1e9, 1e9))
    answers = RayVoter([Answering.remote(number) for number in range(4)], lambda problems: None)._ask("prepare")
    told = sorted(next(answers).problems for _ in range(3))
    assert told == [[(number, "not an image")] for number in (1, 2, 3)]


@pytest.mark.slow
def test_a_shard_that_finds_other_files_than_the_driver_ends_the_run_before_any_vote(images, tmp_path):
    listing = fingerprint(describe(_config(images, 2).data))
    voter = RayVoter(_actors(_config(images, 2), tmp_path, "listing", listing), lambda problems: None)
    voter.ready()
    Image.new("RGB", (20, 20)).save(images / "later.png")
    voter = RayVoter(_actors(_config(images, 3), tmp_path, "changed", listing), lambda problems: None)
    with pytest.raises(ShardFailed, match="the files of .* changed while the run started"):
        voter.ready()
