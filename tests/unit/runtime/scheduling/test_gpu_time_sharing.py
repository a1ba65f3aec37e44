"""Roles that share one device, on SIMULATED actors and a clock that jumps. With Ray: ray/test_turns.py."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.runtime.scheduling import streams
from spti_ray.runtime.scheduling.engine_info import EngineFailed
from spti_ray.runtime.scheduling.events import Finished, Lost, Raised
from spti_ray.runtime.scheduling.gpu_time_sharing import GpuTimeSharing
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents

FETCHED = streams._FETCHED


def numbers(count: int):
    return [(number,) for number in range(count)]


class Device(SimulatedEvents):
    """Watches that no two roles hold the device; `actors`: of each role."""

    def __init__(self):
        super().__init__()
        self.actors: dict[str, list[SimulatedActor]] = {}

    def holders(self):
        return [role for role, actors in self.actors.items() if any(actor.awake for actor in actors)]

    def wake(self, actor, done):
        super().wake(actor, done)
        assert len(self.holders()) <= 1, f"the device is held by {self.holders()}"

    def group(self, role: str, seconds, count: int = 1, sharing: GpuTimeSharing | None = None, **more) -> Pool:
        """A pool that shares the device, or one with a device of its own."""
        limits = more.pop("limits", Limits())
        self.actors[role] = [SimulatedActor(seconds, sleeps=sharing is not None, **more) for _ in range(count)]
        if sharing is None:
            return Pool(role, self.actors.pop(role), self, limits)
        pool = Pool(role, self.actors[role], sharing.of(role), limits, shares_gpu=True)
        sharing.join(pool)
        return pool


def test_the_writer_writes_everything_before_the_renderer_has_the_device():
    device = Device()
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda number: 1.0, sharing=sharing, turn_s=20)
    renderer = device.group("renderer", lambda number: 2.0, sharing=sharing, turn_s=20)
    embedder = device.group("image_embedder", lambda number: 0.1)
    assert list(embedder.map(renderer.map(writer.map(numbers(200))))) == numbers(200)
    assert sharing.switches == 2
    # Twice is a role woken, once put to sleep; the last one stays awake.
    assert device.now() == pytest.approx(3 * 20 + 200 + 400, abs=2)


def test_a_generation_costs_two_switches_however_its_texts_come_to_be():
    """Variations of texts are written while the texts are read, as with lookahead."""
    device = Device()
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda *text: 0.3, sharing=sharing, turn_s=5)
    renderer = device.group("renderer", lambda *text: 1.0, sharing=sharing, turn_s=5)
    for generation in range(3):
        texts = writer.map(numbers(40))
        variations = writer.map((*text, variant) for text in texts for variant in range(2))
        assert len(list(renderer.map(variations))) == 80
        assert sharing.switches == 2 * (generation + 1)


def test_a_renderer_that_sleeps_holds_a_bounded_number_of_batches():
    device = Device()
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda number: 0.01, sharing=sharing)
    renderer = device.group("renderer", lambda number: 0.01, sharing=sharing)
    count = 3 * FETCHED
    most = 0

    def watched(batches):
        nonlocal most
        for pulled, batch in enumerate(batches, 1):
            most = max(most, pulled - rendered)
            yield batch

    rendered = 0
    for (number,) in renderer.map(watched(writer.map(numbers(count)))):
        rendered = number + 1
    assert FETCHED <= most <= FETCHED + 64
    assert sharing.switches <= 2 * math.ceil(count / FETCHED)


def test_results_that_nobody_reads_do_not_pile_up():
    """A slow embedder behind: the renderer, though it has batches, stays within its bounded lead."""
    device = Device()
    sharing = GpuTimeSharing(device)
    rendered = []
    writer = device.group("writer", lambda number: 0.01, sharing=sharing)
    renderer = device.group("renderer", lambda number: rendered.append(number) or 0.01, sharing=sharing)
    results = renderer.map(writer.map(numbers(400)))
    assert next(results) == (0,)
    assert len(rendered) <= 2 * 8 + 1
    assert list(results) == numbers(400)[1:]


def test_an_actor_that_crashes_while_it_holds_the_device_is_woken_again_in_its_turn():
    device = Device()
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda number: 1.0, sharing=sharing, turn_s=3, restart_s=30)
    renderer = device.group("renderer", lambda number: 1.0, sharing=sharing, turn_s=3, restart_s=30)
    for when, role in ((10.5, "writer"), (20, "renderer"), (70, "renderer"), (150, "renderer"), (151, "writer")):
        device.after(when, lambda role=role: device.crash(device.actors[role][0]))
    assert list(renderer.map(writer.map(numbers(60)))) == numbers(60)
    assert sharing.switches == 2 and writer.given_up == renderer.given_up == 0


class Unreachable(Device):
    """Who is away is said to be so at once, as Ray does."""

    def ready(self, actor, done):
        if self.now() < actor.up_at:
            self._at(self.now(), lambda: done(Lost()))
        else:
            super().ready(actor, done)


@pytest.mark.parametrize("device", [Device(), Unreachable()], ids=["silent", "unreachable"])
def test_a_holder_that_is_lost_keeps_the_turn_until_it_is_known_to_hold_nothing(device):
    """It crashes after its last batch: whether its memory is free nobody knows before its new process answers."""
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda number: 1.0, sharing=sharing, restart_s=50)
    began = []
    renderer = device.group("renderer", lambda number: began.append(device.now()) or 1.0, sharing=sharing)
    device.after(5.1, lambda: device.crash(device.actors["writer"][0]))
    assert list(renderer.map(writer.map(numbers(5)))) == numbers(5)
    assert began[0] >= 55.1


def test_one_that_can_not_be_woken_gets_another_process_once_and_then_ends_the_run_in_one_line():
    class Broken(Device):
        tries = 0

        def wake(self, actor, done):
            if actor is self.actors["renderer"][0]:
                self.tries += 1
                self._at(self.now(), lambda: done(Raised("OutOfMemoryError: 3 GiB are missing")))
            else:
                super().wake(actor, done)

    device = Broken()
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda number: 1.0, sharing=sharing)
    renderer = device.group("renderer", lambda number: 1.0, sharing=sharing)
    with pytest.raises(EngineFailed, match=r"^the renderer could not be started: OutOfMemoryError: 3 GiB are missing$"):
        list(renderer.map(writer.map(numbers(5))))
    assert device.tries == 2
    with pytest.raises(EngineFailed, match="3 GiB are missing"):
        renderer.identity()


def test_one_that_does_not_fall_asleep_is_ended_and_the_turn_passes():
    class Stuck(Device):
        def sleep(self, actor, done):
            self._turn(actor, 1e9 if actor.awake else 0.0, lambda: done(Finished(None, 0.0)), done)

    device = Stuck()
    sharing = GpuTimeSharing(device, timeout_s=100)
    writer = device.group("writer", lambda number: 1.0, sharing=sharing)
    renderer = device.group("renderer", lambda number: 1.0, sharing=sharing)
    assert list(renderer.map(writer.map(numbers(5)))) == numbers(5)
    assert 100 < device.now() < 130


def test_the_identity_of_an_engine_that_was_never_needed_is_asked_for_in_a_turn():
    device = Device()
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda number: 1.0, sharing=sharing)
    renderer = device.group("renderer", lambda number: 1.0, sharing=sharing)
    assert list(renderer.map(numbers(3))) == numbers(3)
    assert renderer.identity() == writer.identity() == {"model": "SIMULATED"}
    assert sharing.switches == 2 and device.holders() == ["writer"]


def test_a_pool_that_is_given_back_does_not_hold_the_device_any_more():
    device = Device()
    sharing = GpuTimeSharing(device)
    writer = device.group("writer", lambda number: 1.0, count=2, sharing=sharing)
    renderer = device.group("renderer", lambda number: 1.0, count=2, sharing=sharing)
    assert list(writer.map(numbers(3))) == numbers(3)
    writer.shrink()
    assert list(renderer.map(numbers(5))) == numbers(5)


@given(
    pairs=st.integers(1, 3),
    slots=st.integers(1, 3),
    batches=st.integers(0, 60),
    turn_s=st.sampled_from([0.0, 0.3, 7.0]),
    kills=st.lists(st.tuples(st.floats(0, 120), st.integers(0, 2), st.booleans(), st.booleans()), max_size=12),
    data=st.data(),
)
def test_whatever_is_killed_and_when_one_role_at_a_time_holds_the_device_and_every_batch_comes_out(
    pairs, slots, batches, turn_s, kills, data
):
    device = Device()
    sharing = GpuTimeSharing(device)
    limits = Limits(slots=slots, attempts=1, crashes=len(kills) + 1)
    times = data.draw(st.lists(st.sampled_from([0.01, 0.5, 4.0]), min_size=3, max_size=7))

    def takes(role):
        def seconds(number):
            assert device.holders() == [role]
            return times[(number + len(role)) % len(times)]

        return seconds

    more = {"count": pairs, "sharing": sharing, "turn_s": turn_s, "limits": limits, "restart_s": 3.0}
    writer, renderer = (
        device.group("writer", takes("writer"), **more),
        device.group("renderer", takes("renderer"), **more),
    )
    embedder = device.group("image_embedder", lambda number: 0.7, limits=limits)
    for when, which, of_writer, with_node in kills:
        actor = device.actors["writer" if of_writer else "renderer"][which % pairs]
        device.after(when, lambda actor=actor, with_node=with_node: device.crash(actor, with_node=with_node))
    assert list(embedder.map(renderer.map(writer.map(numbers(batches))))) == numbers(batches)
    assert writer.given_up == renderer.given_up == 0
    # Two for the texts; a crash may leave a role with nothing to do for a moment, which then loses its turn.
    assert sharing.switches <= 2 + 2 * len(kills)
