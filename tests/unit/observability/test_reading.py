"""How far a run is, for other processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spti_ray.observability import reading as module
from spti_ray.observability.pool_reading import PoolReading
from spti_ray.observability.reading import Reading, progress_file, read_reading, written_down
from tests.ray.waiting import until

READING = Reading(
    stage="candidates",
    generation=1,
    generations=4,
    done=120,
    total=480,
    rate=2.0,
    elapsed_s=60.0,
    epsilon=(0.5, 2.0),
    pools=(PoolReading("writer", asked=1, up=1, at_work=2), PoolReading("renderer", asked=1, loading_s=4)),
)


def test_within_its_context_a_reading_is_in_the_file_and_then_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WRITTEN_EVERY_S", 0.01)
    path, now = progress_file(tmp_path), [READING]
    path.parent.mkdir()
    with written_down(lambda: now[0], path):
        until(lambda: read_reading(tmp_path) == READING)
        now[0] = replace(READING, done=130)
        until(lambda: read_reading(tmp_path) == now[0])
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"stage": "votes"}', '{"pools": [], "epsilon": null, "new": 1}']
)
def test_a_file_that_is_none_of_this_build_tells_nothing(content, tmp_path):
    if content is not None:
        progress_file(tmp_path).parent.mkdir()
        progress_file(tmp_path).write_text(content)
    assert read_reading(tmp_path) is None


def test_its_lines_say_how_far_a_run_is_and_what_each_role_does():
    assert READING.lines == [
        "01:00 generation 2/4: candidates | 120/480 texts and images, 2.0/s, ETA 03:00, epsilon 0.5 of 2 spent",
        "writer 1 of 1 up, 2 at work",
        "renderer loading for 00:04",
    ]
