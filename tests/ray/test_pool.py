import asyncio
import itertools
import os
import time
from collections import Counter

import numpy as np
import pytest
import ray
from ray.exceptions import RayActorError

from spti_ray.config import ROLES, EngineConfig, EnginesConfig
from spti_ray.errors import one_line
from spti_ray.models.pixels import from_png, to_png
from spti_ray.public.engines import RenderJob
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.ray.images import put_together, taken_apart
from spti_ray.runtime.scheduling.engine_info import EngineFailed
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.events import Events
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.types import Completions, RenderBatch, WriteRequest

pytestmark = pytest.mark.usefixtures("ray_cluster")

OPTIONS = {"num_cpus": 0.01, "max_restarts": -1, "max_task_retries": 0}


@ray.remote(**OPTIONS)
class Worker:
    """Returns ten times its batch. What befalls a batch is said by its other arguments; each try leaves a mark."""

    def run(self, number: int, fate: str = "", seconds: float = 0.0, marks: str = ""):
        times = 0
        if marks:
            times = len([name for name in os.listdir(marks) if name.split("+")[0] == str(number)])
            open(f"{marks}/{number}+{times}+{os.getpid()}", "w").close()
        if fate == "raises" or (fate == "raises once" and not times):
            raise ValueError(f"no unit {number}\nsecond line")
        if fate == "exits" or (fate == "exits once" and not times):
            os._exit(41)
        time.sleep(1000 if fate == "hangs once" and not times else seconds)
        return number * 10, seconds

    def process(self):
        return os.getpid()


def pool_of(
    actors: list,
    slots: int,
    attempts: int,
    role: str = "worker",
    crashes: int = 3,
    events: Events | None = None,
    **more,
) -> Pool:
    return Pool(role, actors, events or RayEvents(), Limits(slots, attempts, crashes), **more)


@pytest.fixture(scope="module")
def all_workers(ray_cluster):
    return [Worker.remote() for _ in range(3)]


@pytest.fixture
def workers(all_workers):
    """Three actors that are up, shared by the tests. What a test before has killed may only be on its way back."""
    deadline = time.monotonic() + 60
    while True:
        try:
            ray.get([worker.process.remote() for worker in all_workers])
            return all_workers
        except RayActorError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def attempts_of(marks, number: int) -> int:
    return len([path for path in marks.iterdir() if path.name.split("+")[0] == str(number)])


def test_results_keep_the_order_of_their_batches(workers):
    pool = pool_of(workers, 2, 3)
    batches = [(i, "", 0.05 if i % 3 == 0 else 0.0) for i in range(30)]
    assert list(pool.map(batches)) == [10 * i for i in range(30)]
    assert list(pool.map([])) == []
    assert list(pool.map(iter([(7,)]))) == [70]


def test_batches_are_pulled_only_as_slots_come_free(workers):
    pool = pool_of(workers[:2], 2, 3)
    pulled = 0

    def batches():
        nonlocal pulled
        for number in range(100):
            pulled += 1
            yield number, "", 0.01

    stream = pool.map(batches())
    assert pulled == 0  # Nothing happens before the first result is wanted.
    next(stream)
    assert pulled < 30
    assert list(stream) == [10 * i for i in range(1, 100)]


def test_a_slow_batch_holds_back_a_bounded_number_of_results(workers):
    """The others go on, but not without end: their results wait in the driver's memory."""
    pool = pool_of(workers[:2], 1, 3)
    pulled = 0

    def batches():
        nonlocal pulled
        for number in range(1000):
            pulled += 1
            yield number, "", 3.0 if number == 0 else 0.0

    stream = pool.map(batches())
    assert next(stream) == 0
    assert 8 < pulled <= 2 * 8
    stream.close()


def test_an_actor_has_its_slots_filled_and_never_more():
    @ray.remote(**OPTIONS)
    class Crowded:
        def __init__(self):
            self._inside = self._most = 0

        async def run(self, number):
            self._inside += 1
            self._most = max(self._most, self._inside)
            await asyncio.sleep(0.01)
            self._inside -= 1
            return self._most, 0.0

    pool = pool_of([Crowded.remote()], 3, 3)
    assert max(pool.map((i,) for i in range(60))) == 3


def test_all_actors_share_the_work(workers, tmp_path):
    pool = pool_of(workers, 1, 3)
    list(pool.map((i, "", 0.02, str(tmp_path)) for i in range(15)))
    processes = Counter(path.name.split("+")[2] for path in tmp_path.iterdir())
    assert len(processes) == 3 and min(processes.values()) >= 2


def test_a_batch_that_keeps_raising_is_given_up_and_the_others_are_unaffected(workers, tmp_path, caplog):
    pool = pool_of(workers[:2], 2, 3)
    batches = [(i, "raises" if i in (0, 5, 9) else "", 0.0, str(tmp_path)) for i in range(10)]
    assert list(pool.map(batches)) == [None if i in (0, 5, 9) else 10 * i for i in range(10)]
    assert pool.given_up == 3
    assert [attempts_of(tmp_path, i) for i in range(10)] == [3, 1, 1, 1, 1, 3, 1, 1, 1, 3]
    assert "batch 5 failed 3 times (ValueError) and is skipped" in caplog.text
    assert "second line" not in caplog.text and "no unit" not in caplog.text


def test_a_batch_that_raises_once_is_tried_again(workers, tmp_path):
    pool = pool_of(workers[:1], 2, 2)
    batches = [(i, "raises once" if i == 3 else "", 0.0, str(tmp_path)) for i in range(6)]
    assert list(pool.map(batches)) == [0, 10, 20, 30, 40, 50]
    assert pool.given_up == 0 and attempts_of(tmp_path, 3) == 2


def test_only_finished_batches_are_reported_with_their_busy_seconds(workers):
    seen: list[tuple[int, float]] = []
    pool = pool_of(workers[:2], 2, 2, on_batch=lambda result, seconds: seen.append((result, seconds)))
    list(pool.map((i, "raises" if i == 2 else "", 0.01) for i in range(5)))
    assert sorted(seen) == [(0, 0.01), (10, 0.01), (30, 0.01), (40, 0.01)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_batches_of_an_actor_that_exits_are_done_by_whoever_is_there(workers, tmp_path, count):
    """With `attempts=1`: the loss of an actor is no failure of its batches."""
    reported: list[int] = []
    pool = pool_of(workers[:count], 3, 1, on_batch=lambda result, seconds: reported.append(result))
    batches = [(i, "exits once" if i in (2, 11) else "", 0.01, str(tmp_path)) for i in range(20)]
    emitted = list(pool.map(batches))
    assert emitted == [10 * i for i in range(20)]
    assert attempts_of(tmp_path, 2) >= 2 and attempts_of(tmp_path, 11) >= 2
    assert sorted(reported) == emitted  # A batch that was begun twice counts once.
    assert pool.given_up == 0


def test_the_batches_of_an_actor_that_was_killed_are_done_by_whoever_is_there(workers):
    pool = pool_of(workers, 2, 1)
    stream = pool.map((i, "", 0.05) for i in range(40))
    first = [next(stream) for _ in range(4)]
    ray.kill(workers[0], no_restart=False)
    ray.kill(workers[2], no_restart=False)
    assert first + list(stream) == [10 * i for i in range(40)]
    assert pool.given_up == 0


@pytest.mark.slow
def test_an_actor_that_is_slow_to_come_back_costs_no_batch(tmp_path):
    """A model takes a minute to load: batches sent to it meanwhile wait, and are not lost again and again."""

    @ray.remote(**OPTIONS)
    class Slow:
        def __init__(self, marks):
            self._marks = marks
            if os.listdir(marks):
                time.sleep(2)

        def run(self, number):
            if number == 3 and not os.listdir(self._marks):
                open(f"{self._marks}/died", "w").close()
                os._exit(41)
            return number, 0.0

    pool = pool_of([Slow.remote(str(tmp_path))], 2, 1)
    assert list(pool.map((i,) for i in range(8))) == list(range(8))
    assert pool.given_up == 0


def test_a_batch_that_kills_every_actor_is_given_up_in_the_end(workers, tmp_path):
    pool = pool_of(workers[:1], 2, 1, crashes=2)
    batches = [(i, "exits" if i == 1 else "", 0.0, str(tmp_path)) for i in range(4)]
    assert list(pool.map(batches)) == [0, None, 20, 30]
    assert pool.given_up == 1 and attempts_of(tmp_path, 1) == 2


def test_an_engine_that_hangs_is_killed_and_its_batch_runs_on_another_try(workers, tmp_path):
    pool = Pool("worker", workers[:1], RayEvents(), Limits(1, 1, 2, batch_timeout_s=1.0))
    batches = [(0, "hangs once", 0.0, str(tmp_path)), (1,)]
    assert list(pool.map(batches)) == [0, 10]
    assert attempts_of(tmp_path, 0) == 2 and pool.given_up == 0


def test_a_pool_grows_while_the_run_waits_for_it_and_gives_back_what_it_took(monkeypatch):
    monkeypatch.setattr("spti_ray.runtime.scheduling.pool._LOOK_S", 0.2)
    made = [Worker.remote()]

    def grow():
        made.append(Worker.remote())
        return made[-1]

    pool = pool_of(made[:1], 2, 1, grow=grow, most=3)
    assert list(pool.map((i, "", 0.05) for i in range(150))) == [10 * i for i in range(150)]
    assert pool.num_actors == len(made) == 3
    pool.shrink(keep=1)
    # Ray ends a process a moment after it was told to; until then it answers.
    deadline = time.monotonic() + 30
    while sum(map(_is_gone, made)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sum(map(_is_gone, made)) == 2


def _is_gone(worker):
    try:
        ray.get(worker.process.remote(), timeout=30)
    except ray.exceptions.ActorDiedError:
        return True
    return False


def test_an_actor_that_can_not_be_constructed_fails_the_pool_in_one_line():
    @ray.remote(**OPTIONS)
    class Unloadable:
        def __init__(self):
            raise FileNotFoundError("no model at /nowhere")

        def run(self, number):
            return number, 0.0

    pool = pool_of([Unloadable.remote()], 2, 3, role="renderer")
    with pytest.raises(EngineFailed) as caught:
        list(pool.map((i,) for i in range(4)))
    message = str(caught.value)
    assert message == "the renderer could not be started: FileNotFoundError: no model at /nowhere"
    assert one_line(caught.value) == message


def test_a_pool_whose_last_actor_is_dead_for_good_fails_and_does_not_wait_for_it():
    worker = Worker.remote()
    pool = pool_of([worker], 1, 1)
    stream = pool.map((i,) for i in range(100))
    assert next(stream) == 0
    ray.kill(worker, no_restart=True)
    with pytest.raises(EngineFailed, match="its process died"):
        list(stream)


def test_two_streams_of_one_pool_do_not_deadlock_when_one_feeds_the_other(workers):
    pool = pool_of(workers[:1], 1, 3)
    inner = pool.map((i,) for i in range(8))
    outer = pool.map((result,) for result in inner)
    assert list(outer) == [100 * i for i in range(8)]


def test_nested_streams_of_which_one_fails_batches_keep_their_results_apart(workers):
    pool = pool_of(workers[:2], 2, 1)
    inner = pool.map((i, "raises" if i == 4 else "") for i in range(40))
    middle = pool.map((result,) for result in inner if result is not None)
    outer = list(pool.map((result,) for result in middle))
    assert outer == [1000 * i for i in range(40) if i != 4]


def test_a_stream_that_is_left_half_way_does_not_disturb_the_next(workers):
    pool = pool_of(workers[:2], 2, 3)
    abandoned = pool.map((i, "", 0.02) for i in itertools.count())
    assert [next(abandoned) for _ in range(3)] == [0, 10, 20]
    abandoned.close()
    assert list(pool.map((i,) for i in range(10))) == [10 * i for i in range(10)]


def test_an_error_of_the_source_reaches_the_caller(workers):
    def batches():
        yield (1,)
        raise RuntimeError("upstream")

    with pytest.raises(RuntimeError, match="upstream"):
        list(pool_of(workers[:1], 1, 1).map(batches()))


def test_chained_pools_work_at_the_same_time(workers):
    """Two stages of 0.1 s on 15 batches take about 1.6 s side by side and 3 s one after the other."""
    events = RayEvents()
    first, second = (pool_of([worker], 2, 1, events=events) for worker in workers[:2])
    start = time.monotonic()
    list(second.map((result, "", 0.1) for result in first.map((i, "", 0.1) for i in range(15))))
    assert time.monotonic() - start < 2.7


@ray.remote(**OPTIONS)
class Engine:
    """An engine of every role. A batch that holds the item "bad" raises."""

    def __init__(self):
        self._lengths: list[int] = []

    def run(self, batch):
        rendered = isinstance(batch, RenderBatch)
        items = list(zip(batch.texts, batch.seeds, strict=True)) if rendered else [(item,) for item in batch]
        if any("bad" in str(item) for item in items):
            raise ValueError("bad")
        self._lengths.append(len(items))
        return [self._one(*item) for item in items], 0.0

    @ray.method(num_returns=2)
    def run_apart(self, batch):
        pngs, seconds = self.run(batch)
        together, lengths = put_together(pngs)
        return together, (lengths, seconds)

    def run_images(self, places, *parts):
        return self.run(taken_apart(places, parts))

    def _one(self, item, seed=None):
        if isinstance(item, WriteRequest):
            return Completions((item.prompt.upper(),), 1)
        if seed is not None:
            return to_png(np.full((2, 2, 3), seed, np.uint8))
        if isinstance(item, str):
            return np.float32([len(item)])
        return np.float32([from_png(item).mean()])

    def lengths(self):
        """Lengths of the batches since the last call."""
        lengths, self._lengths = self._lengths, []
        return lengths


@pytest.fixture(scope="module")
def engine(ray_cluster):
    return Engine.remote()


def engines_of(engine, batch_size: int) -> PooledEngines:
    ray.get(engine.lengths.remote())
    config = EnginesConfig(**{role: EngineConfig(kind="fake", batch_size=batch_size) for role in ROLES})
    events = RayEvents()
    return PooledEngines({role: pool_of([engine], 2, 2, role, events=events) for role in ROLES}, config)


def request(prompt: str) -> WriteRequest:
    return WriteRequest(prompt, 1, 0, 8)


def test_a_stream_is_cut_into_batches_and_the_last_one_may_be_short(engine):
    answers = list(engines_of(engine, 4).write(request(f"a{i}") for i in range(10)))
    assert [answer.texts[0] for answer in answers] == [f"A{i}" for i in range(10)]
    assert ray.get(engine.lengths.remote()) == [4, 4, 2]


def test_a_skipped_batch_gives_none_for_each_of_its_items_and_shifts_no_other(engine):
    engines = engines_of(engine, 4)
    prompts = ["bad" if i in (5, 9) else f"a{i}" for i in range(10)]
    answers = list(engines.write(map(request, prompts)))
    assert [answer.texts for answer in answers] == [("A0",), ("A1",), ("A2",), ("A3",), *[()] * 6]
    assert all(bool(answer.problem) == (i >= 4) for i, answer in enumerate(answers)), "why is told"
    rows = list(engines.embed_texts(["bad" if i == 0 else "x" * i for i in range(10)]))
    assert [row if row is None else int(row[0]) for row in rows] == [None] * 4 + [4, 5, 6, 7, 8, 9]


def test_an_empty_stream_gives_nothing(engine):
    engines = engines_of(engine, 4)
    assert list(engines.render([])) == [] and list(engines.embed_images(iter(()))) == []


def test_texts_flow_through_renderer_and_embedder_in_order(engine):
    engines = engines_of(engine, 3)
    answers = engines.write(request(f"a{i}") for i in range(11))
    images = engines.render(RenderJob(answer.texts[0], i) for i, answer in enumerate(answers))
    rows = engines.embed_images(image for image in images if image is not None)
    assert [int(row[0]) for row in rows] == list(range(11))


def test_the_first_image_is_there_before_the_last_text_was_asked_for(engine):
    asked = 0

    def requests():
        nonlocal asked
        for i in range(200):
            asked += 1
            yield request(f"a{i}")

    engines = engines_of(engine, 2)
    next(engines.render(RenderJob(answer.texts[0], 1) for answer in engines.write(requests())))
    assert asked < 100
