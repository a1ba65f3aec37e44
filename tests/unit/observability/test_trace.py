"""What a run tells its trace: each event once, for sums and for the timeline."""

import pytest

from spti_ray.observability import trace as module
from spti_ray.observability.trace import Trace


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_stage_ends_the_one_before_and_adds_to_its_phase(clock):
    trace = Trace()
    for generation in range(2):
        trace.stage("candidates", generation)
        clock.now += 4.0
        trace.stage("votes", generation)
        clock.now += 1.0
    trace.end_stage()
    trace.end_stage()
    assert trace.phases_s == {"candidates": 8.0, "votes": 2.0}
    assert [(span.name, span.begin, span.end) for span in trace.stages] == [
        ("candidates 0", 0.0, 4.0), ("votes 0", 4.0, 5.0), ("candidates 1", 5.0, 9.0), ("votes 1", 9.0, 10.0),
    ]  # fmt: skip


def test_what_is_timed_within_a_stage_of_its_own_name_is_counted_once(clock):
    trace = Trace()
    trace.stage("release")
    clock.now += 2.0
    with trace.timed("release"):
        clock.now += 3.0
    trace.end_stage()
    assert trace.phases_s == {"release": 5.0}, "all of it, and not its last part alone"
    assert [(span.name, span.end - span.begin) for span in trace.stages] == [("release", 5.0)]


def test_a_phase_that_fails_is_timed_too(clock):
    trace = Trace()
    with pytest.raises(KeyError), trace.timed("load models"):
        clock.now += 3.0
        raise KeyError
    assert trace.phases_s == {"load models": 3.0}


def test_a_batch_from_the_cache_counts_its_items_and_has_no_span(clock):
    trace = Trace()
    trace.batch("renderer", 16, busy_s=0.0)
    assert trace.totals["renderer"].items == 16 and not trace.batches


def test_the_peak_of_memory_is_kept():
    trace = Trace()
    for used_bytes in (3, 7, 5):
        trace.memory(used_bytes)
    assert trace.peak_memory_bytes == 7
