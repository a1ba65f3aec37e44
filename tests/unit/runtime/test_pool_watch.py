"""What the progress display is told of pools."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from spti_ray.observability.progress import Progress
from spti_ray.runtime import pool_watch
from spti_ray.runtime.pool_watch import PoolWatch
from spti_ray.runtime.scheduling.meter import NO_METRICS, Load


@pytest.fixture
def progress():
    return Progress(Console(file=io.StringIO()))


def _watched(progress, load, takes_turns=False):
    watch = PoolWatch("renderer", NO_METRICS, progress, takes_turns)
    watch.watch(lambda: load[0])
    return watch


def test_a_pool_loads_until_its_first_engine_is_up_and_again_when_all_are_lost(progress, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pool_watch.time, "monotonic", lambda: now[0])
    load = [Load(queue=3, in_flight=0, up=0, asked=2)]
    watch = _watched(progress, load)

    def seen():
        (pool,) = progress.reading().pools
        return pool.is_loading, pool.loading_s

    assert seen() == (True, 0)
    now[0] += 30
    assert seen() == (True, 30)
    load[0] = Load(queue=1, in_flight=2, up=1, asked=2)
    assert seen() == (False, 0)
    watch.lost("died")
    load[0] = Load(queue=3, in_flight=0, up=0, asked=1)
    now[0] += 5
    assert seen() == (True, 0)
    assert progress.reading().pools[0].lost == 1


def test_engines_that_sleep_while_another_role_has_their_gpu_do_not_load(progress):
    _watched(progress, [Load(queue=3, in_flight=0, up=0, asked=1)], takes_turns=True)
    (pool,) = progress.reading().pools
    assert not pool.is_loading and pool.words == ""
