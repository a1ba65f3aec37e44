import itertools
import os
import time

import numpy as np
import pytest
import ray

from spti_ray.actors.pool import EngineFailed, Pool
from spti_ray.actors.streams import RayEngines
from spti_ray.config import ROLES, EngineConfig, EnginesConfig
from spti_ray.errors import one_line
from spti_ray.public.engines import RenderJob
from spti_ray.types import Completions, WriteRequest

pytestmark = pytest.mark.usefixtures("ray_cluster")

OPTIONS = {"num_cpus": 0.01, "max_restarts": -1, "max_task_retries": 0}


@ray.remote(**OPTIONS)
class Worker:
    """Returns ten times its unit. What befalls a unit is said by its second argument."""

    def __init__(self, marks: str = "", start_s: float = 0.0):
        if marks and os.listdir(marks):
            time.sleep(start_s)  # Only a restart is slow.
        self._marks = marks

    def run(self, number: int, fate: str = "", seconds: float = 0.0):
        mark = os.path.join(self._marks, str(number))
        times = (
            len([name for name in os.listdir(self._marks) if name.split("+")[0] == str(number)]) if self._marks else 0
        )
        if self._marks:
            open(f"{mark}+{times}+{os.getpid()}", "w").close()
        if fate == "raises" or (fate == "raises once" and not times):
            raise ValueError(f"no unit {number}\nsecond line")
        if fate == "exits" or (fate == "exits once" and not times):
            os._exit(41)
        time.sleep(seconds)
        return number * 10, seconds

    def process(self):
        return os.getpid()


def workers(count: int, marks: str = "", start_s: float = 0.0):
    return [Worker.remote(marks, start_s) for _ in range(count)]


def attempts_of(marks, number: int) -> int:
    return len([path for path in marks.iterdir() if path.name.split("+")[0] == str(number)])


def test_results_keep_the_order_of_their_units(tmp_path):
    pool = Pool("worker", workers(3), in_flight_per_actor=2, attempts=3)
    units = [(i, "", 0.05 if i % 3 == 0 else 0.0) for i in range(30)]
    assert list(pool.map(units)) == [10 * i for i in range(30)]
    assert list(pool.map([])) == []
    assert list(pool.map(iter([(7,)]))) == [70]


def test_no_more_units_are_pulled_than_the_actors_slots_and_no_result_waits_for_the_end():
    pool = Pool("worker", workers(2), in_flight_per_actor=3, attempts=3)
    pulled = 0

    def units():
        nonlocal pulled
        for number in range(40):
            pulled += 1
            yield (number,)

    stream = pool.map(units())
    assert pulled == 0  # Lazy until the first result is wanted.
    for emitted in range(1, 41):
        next(stream)
        # In flight at most 2 x 3, and one that was pulled to wait for a slot; units done out of order add few.
        assert pulled - emitted <= 6 + 6
        if emitted == 1:
            assert pulled < 40


def test_an_actor_never_has_more_than_its_share_in_flight():
    @ray.remote(**OPTIONS)
    class Crowded:
        def __init__(self):
            self._inside = self._most = 0

        async def run(self, number):
            import asyncio

            self._inside += 1
            self._most = max(self._most, self._inside)
            await asyncio.sleep(0.01)
            self._inside -= 1
            return self._most, 0.0

    pool = Pool("worker", [Crowded.remote(), Crowded.remote()], in_flight_per_actor=3, attempts=3)
    most = max(pool.map((i,) for i in range(60)))
    assert most == 3  # Filled, and not exceeded.


def test_all_actors_share_the_work(tmp_path):
    pool = Pool("worker", workers(3, str(tmp_path)), in_flight_per_actor=1, attempts=3)
    list(pool.map((i, "", 0.02) for i in range(15)))
    per_process: dict[str, int] = {}
    for path in tmp_path.iterdir():
        process = path.name.split("+")[2]
        per_process[process] = per_process.get(process, 0) + 1
    assert len(per_process) == 3 and min(per_process.values()) >= 2


def test_a_unit_that_keeps_raising_is_given_up_and_the_others_are_unaffected(tmp_path, caplog):
    pool = Pool("worker", workers(2, str(tmp_path)), in_flight_per_actor=2, attempts=3)
    units = [(i, "raises" if i in (0, 5, 9) else "") for i in range(10)]
    assert list(pool.map(units)) == [None if i in (0, 5, 9) else 10 * i for i in range(10)]
    assert pool.given_up == 3
    assert [attempts_of(tmp_path, i) for i in range(10)] == [3, 1, 1, 1, 1, 3, 1, 1, 1, 3]
    assert "unit 5 failed 3 times (ValueError) and is skipped" in caplog.text
    assert "second line" not in caplog.text


def test_a_unit_that_raises_once_is_tried_again(tmp_path):
    pool = Pool("worker", workers(1, str(tmp_path)), in_flight_per_actor=2, attempts=2)
    assert list(pool.map((i, "raises once" if i == 3 else "") for i in range(6))) == [0, 10, 20, 30, 40, 50]
    assert pool.given_up == 0 and attempts_of(tmp_path, 3) == 2


def test_only_finished_units_are_reported_with_their_busy_seconds():
    seen: list[tuple[int, float]] = []
    pool = Pool("worker", workers(2), 2, 2, on_unit=lambda result, seconds: seen.append((result, seconds)))
    list(pool.map((i, "raises" if i == 2 else "", 0.01) for i in range(5)))
    assert sorted(seen) == [(0, 0.01), (10, 0.01), (30, 0.01), (40, 0.01)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_units_of_an_actor_that_exits_are_done_by_whoever_is_there(tmp_path, count):
    pool = Pool("worker", workers(count, str(tmp_path), start_s=0.5), in_flight_per_actor=3, attempts=1)
    units = [(i, "exits once" if i in (2, 11) else "", 0.01) for i in range(20)]
    assert list(pool.map(units)) == [10 * i for i in range(20)]
    assert pool.given_up == 0
    assert attempts_of(tmp_path, 2) >= 2 and attempts_of(tmp_path, 11) >= 2


def test_the_units_of_an_actor_that_was_killed_are_done_by_whoever_is_there(tmp_path):
    actors = workers(3, str(tmp_path))
    ray.get([actor.process.remote() for actor in actors])
    pool = Pool("worker", actors, in_flight_per_actor=2, attempts=1)
    stream = pool.map((i, "", 0.05) for i in range(40))
    first = [next(stream) for _ in range(4)]
    ray.kill(actors[0], no_restart=False)
    ray.kill(actors[2], no_restart=False)
    assert first + list(stream) == [10 * i for i in range(40)]
    assert pool.given_up == 0


def test_a_unit_that_was_run_twice_gives_one_result(tmp_path):
    """The actor dies after it did other units of its batch: whatever is done again is emitted once."""
    results: list[int] = []
    pool = Pool("worker", workers(2, str(tmp_path)), 4, 1, on_unit=lambda result, seconds: results.append(result))
    emitted = list(pool.map((i, "exits once" if i % 6 == 5 else "") for i in range(24)))
    assert emitted == [10 * i for i in range(24)]
    assert sorted(results) == emitted  # Counted once, too.
    assert sum(attempts_of(tmp_path, i) for i in range(24)) > 24


def test_a_unit_that_kills_every_actor_is_given_up_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("spti_ray.actors.pool._MAX_LOSSES", 3)
    pool = Pool("worker", workers(1, str(tmp_path)), in_flight_per_actor=1, attempts=1)
    assert list(pool.map((i, "exits" if i == 1 else "") for i in range(4))) == [0, None, 20, 30]
    assert pool.given_up == 1 and attempts_of(tmp_path, 1) == 3


def test_an_actor_that_can_not_be_constructed_fails_the_pool_in_one_line():
    @ray.remote(**OPTIONS)
    class Unloadable:
        def __init__(self):
            raise FileNotFoundError("no model at /nowhere")

        def run(self, number):
            return number, 0.0

    pool = Pool("renderer", [Unloadable.remote()], in_flight_per_actor=2, attempts=3)
    with pytest.raises(EngineFailed) as caught:
        list(pool.map((i,) for i in range(4)))
    message = str(caught.value)
    assert message == "the renderer could not be started: FileNotFoundError: no model at /nowhere"
    assert one_line(caught.value) == message


def test_two_streams_of_one_pool_do_not_deadlock_when_one_feeds_the_other():
    pool = Pool("worker", workers(1), in_flight_per_actor=1, attempts=3)
    inner = pool.map((i,) for i in range(8))
    outer = pool.map((result,) for result in inner)
    assert list(outer) == [100 * i for i in range(8)]


def test_three_nested_streams_and_one_that_fails_units_keep_their_results_apart():
    pool = Pool("worker", workers(2), in_flight_per_actor=2, attempts=1)
    inner = pool.map((i, "raises" if i == 4 else "") for i in range(9))
    middle = pool.map((result,) for result in inner if result is not None)
    outer = list(pool.map((result,) for result in middle))
    assert outer == [1000 * i for i in range(9) if i != 4]


def test_a_stream_that_is_left_half_way_does_not_disturb_the_next():
    pool = Pool("worker", workers(2), in_flight_per_actor=2, attempts=3)
    abandoned = pool.map((i, "", 0.02) for i in itertools.count())
    assert [next(abandoned) for _ in range(3)] == [0, 10, 20]
    abandoned.close()
    assert list(pool.map((i,) for i in range(10))) == [10 * i for i in range(10)]


def test_an_error_of_the_source_reaches_the_caller():
    def units():
        yield (1,)
        raise RuntimeError("upstream")

    with pytest.raises(RuntimeError, match="upstream"):
        list(Pool("worker", workers(1), 1, 1).map(units()))


def test_chained_pools_work_at_the_same_time():
    """Two stages of 0.1 s on 12 units take about 1.2 s side by side and 2.4 s one after the other."""
    first, second = (Pool("worker", workers(1), in_flight_per_actor=2, attempts=1) for _ in range(2))
    list(second.map((result,) for result in first.map([(0,)])))  # Both processes are up.
    start = time.monotonic()
    list(second.map((result, "", 0.1) for result in first.map((i, "", 0.1) for i in range(12))))
    assert time.monotonic() - start < 2.1


@ray.remote(**OPTIONS)
class Engine:
    """An engine of any role. A unit that holds the item "bad" raises."""

    def __init__(self):
        self._lengths: list[int] = []

    def run(self, *arguments):
        items = list(zip(*arguments, strict=True))
        self._lengths.append(len(items))
        if any("bad" in str(item) for item in items):
            raise ValueError("bad")
        return [self._one(*item) for item in items], 0.0

    def _one(self, item, seed=None):
        if isinstance(item, WriteRequest):
            return Completions((item.prompt.upper(),), 1)
        if seed is not None:
            return np.full((2, 2, 3), seed, np.uint8)
        if isinstance(item, str):
            return np.float32([len(item)])
        return np.float32([item.mean()])

    def lengths(self):
        return self._lengths


def engines(batch_size: int = 4):
    actors = {role: Engine.remote() for role in ROLES}
    config = EnginesConfig(**{role: EngineConfig(kind="fake", batch_size=batch_size) for role in ROLES})
    pools = {role: Pool(role, [actor], 2, 2) for role, actor in actors.items()}
    return RayEngines(pools, config), actors


def request(prompt: str) -> WriteRequest:
    return WriteRequest(prompt, 1, 0, 8)


def test_a_stream_is_cut_into_units_and_the_last_one_may_be_short():
    local, actors = engines(4)
    answers = list(local.write(request(f"a{i}") for i in range(10)))
    assert [answer.texts[0] for answer in answers] == [f"A{i}" for i in range(10)]
    assert ray.get(actors["writer"].lengths.remote()) == [4, 4, 2]


def test_a_skipped_unit_gives_none_for_each_of_its_items_and_shifts_no_other():
    local, _ = engines(4)
    prompts = ["bad" if i in (5, 9) else f"a{i}" for i in range(10)]
    answers = [answer and answer.texts[0] for answer in local.write(map(request, prompts))]
    assert answers == ["A0", "A1", "A2", "A3", None, None, None, None, None, None]
    rows = list(local.embed_texts(["bad" if i == 0 else "x" * i for i in range(10)]))
    assert [row if row is None else int(row[0]) for row in rows] == [None] * 4 + [4, 5, 6, 7, 8, 9]


def test_an_empty_stream_gives_nothing():
    local, _ = engines()
    assert list(local.render([])) == [] and list(local.embed_images(iter(()))) == []


def test_texts_flow_through_renderer_and_embedder_in_order():
    local, _ = engines(3)
    answers = local.write(request(f"a{i}") for i in range(11))
    images = local.render(RenderJob(answer.texts[0], i) for i, answer in enumerate(answers))
    rows = local.embed_images(image for image in images if image is not None)
    assert [int(row[0]) for row in rows] == list(range(11))


def test_the_first_image_is_there_before_the_last_text_was_asked_for():
    local, _ = engines(2)
    asked = 0

    def requests():
        nonlocal asked
        for i in range(60):
            asked += 1
            yield request(f"a{i}")

    images = local.render(RenderJob(answer.texts[0], 1) for answer in local.write(requests()))
    next(images)
    assert asked < 30
