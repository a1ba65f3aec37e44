"""The trace of a run: every batch once, and batches at the same time in rows of their own."""

import json
import stat

from hypothesis import given
from hypothesis import strategies as st

from spti_ray.observability import trace as module
from spti_ray.observability.timeline import rows, write_timeline
from spti_ray.observability.trace import Trace


class Clock:
    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


def test_phases_and_batches_are_where_they_were(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    trace = Trace()
    clock.now = 1.0
    trace.stage("candidates", 0)
    clock.now = 4.0
    trace.batch("writer", 64, busy_s=2.5)
    clock.now = 4.5
    trace.batch("writer", 1, busy_s=2.0)
    trace.batch("renderer", 16, busy_s=0.0)  # kept by an earlier attempt
    trace.end_stage()
    write_timeline(trace, tmp_path / "timeline.json")
    document = json.loads((tmp_path / "timeline.json").read_text())
    names = {event["tid"]: event["args"]["name"] for event in document["traceEvents"] if event["ph"] == "M"}
    spans = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert [(names[e["tid"]], e["name"], e["ts"], e["dur"]) for e in spans] == [
        ("driver", "candidates 0", 1_000_000, 3_500_000),
        ("writer 1", "64 items", 1_500_000, 2_500_000),
        ("writer 2", "1 item", 2_500_000, 2_000_000),
    ]
    assert stat.S_IMODE((tmp_path / "timeline.json").stat().st_mode) == 0o600


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 30)), max_size=40))
def test_no_two_batches_of_a_row_overlap_and_none_is_lost(batches):
    trace = Trace()
    zero = trace._started
    real = module.time.monotonic
    try:
        for end, busy_s in batches:
            module.time.monotonic = lambda end=end: zero + 100 + end
            trace.batch("renderer", 1, busy_s)
    finally:
        module.time.monotonic = real
    found = rows(trace)
    assert sum(len(row) for row in found.values()) == len(batches)
    for row in found.values():
        assert all(before.end <= after.begin for before, after in zip(row, row[1:], strict=False))


def test_of_very_many_batches_the_latest_are_kept():
    trace = Trace(most_spans=3)
    for number in range(10):
        trace.batch("writer", number, 1e-9)
    assert [span.name for row in rows(trace).values() for span in row] == ["7 items", "8 items", "9 items"]


def test_how_engines_started_has_a_row_each_within_the_run(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(module.time, "time", lambda: 1000.0)
    trace = Trace()
    trace.start("writer", [("process", 990.0), ("its actor", 1001.0), ("import", 1004.5), ("load", 1010.0)])
    trace.start("writer", [("process", 1002.0), ("its actor", 1003.0)])
    clock.now = 2.0
    with trace.timed("start Ray"):
        clock.now = 3.0
    found = rows(trace)
    assert [(span.name, span.begin, span.end) for span in found["writer 1 starts"]] == [
        ("its actor", 0.0, 1.0), ("import", 1.0, 4.5), ("load", 4.5, 10.0),
    ]  # fmt: skip
    assert [(span.begin, span.end) for span in found["writer 2 starts"]] == [(2.0, 3.0)]
    assert [(span.name, span.begin, span.end) for span in found["driver"]] == [("start Ray", 2.0, 3.0)]


def test_the_first_text_is_the_first_that_was_written_now(monkeypatch):
    clock = Clock(monkeypatch)
    trace = Trace()
    for clock.now, role, busy_s in ((1.0, "writer", 0.0), (2.0, "renderer", 1.0), (5.0, "writer", 2.0)):
        assert trace.first_text_s is None
        trace.batch(role, 1, busy_s)
    clock.now = 9.0
    trace.batch("writer", 1, 1.0)
    assert trace.first_text_s == 5.0
