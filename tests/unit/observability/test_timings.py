"""Where the time of a run went, in sums."""

from __future__ import annotations

import json

import pytest

from spti_ray.observability.timings import rows, write_timings
from spti_ray.observability.trace import Trace


def test_timings_add_up_and_are_written_for_the_owner_only(tmp_path):
    trace = Trace()
    for _ in range(2):
        trace.batch("writer", 10, 2.0, tokens=80)
    with trace.timed("release"):
        pass
    path = tmp_path / "timings.json"
    write_timings(trace, path, {"attempt": 1})
    document = json.loads(path.read_text())
    stage = document["stages"]["writer"]
    assert (stage["busy_s"], stage["units_per_s"], stage["output_tokens_per_s"]) == (4.0, 5.0, 40.0)
    assert rows(trace) == [("writer", "4.0", "20", "5.0/s, 40 output tokens/s")]
    assert document["attempt"] == 1 and list(document["phases_s"]) == ["release"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_stage_that_costs_money_says_how_much(tmp_path):
    trace = Trace()
    for _ in range(2):
        trace.batch("writer", 10, 2.0, tokens=80, dollars=0.0625)
    assert rows(trace)[0][3] == "5.0/s, 40 output tokens/s, $0.125"
    write_timings(trace, tmp_path / "timings.json", {})
    assert json.loads((tmp_path / "timings.json").read_text())["stages"]["writer"]["dollars"] == 0.125


def test_the_file_has_the_keys_that_readers_of_earlier_runs_know(tmp_path):
    trace = Trace()
    trace.batch("writer", 1, 0.5)
    write_timings(trace, tmp_path / "timings.json", {"texts": {}})
    document = json.loads((tmp_path / "timings.json").read_text())
    assert list(document) == [
        "wall_s",
        "first_text_s",
        "peak_memory_bytes",
        "writer_in_all",
        "phases_s",
        "stages",
        "texts",
    ]
    assert list(document["stages"]["writer"]) == [
        "busy_s", "units", "units_per_s", "output_tokens", "output_tokens_per_s", "dollars",
    ]  # fmt: skip


@pytest.mark.parametrize(("on_record", "expected"), [((37, 1.75), (37, 1.75)), ((0, 0.0), (30, 1.0))])
def test_what_the_writer_cost_over_all_attempts_is_at_least_what_this_one_saw(tmp_path, on_record, expected):
    """Records may be lost with the machine's power."""
    trace = Trace()
    trace.batch("writer", 1, 1.0, tokens=30, dollars=1.0)
    trace.in_all(*on_record)
    write_timings(trace, tmp_path / "timings.json", {})
    told = json.loads((tmp_path / "timings.json").read_text())["writer_in_all"]
    assert told == dict(zip(("output_tokens", "dollars"), expected, strict=True))
