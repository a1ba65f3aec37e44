"""The bench on real Ray actors, with little work: figures are there, and no batch is lost. Speeds are not judged."""

import pytest

from spti_ray.bench import scaling as bench_scaling
from spti_ray.bench.kills import kills
from spti_ray.bench.overhead import in_pool_over_bare
from spti_ray.bench.peers import peers
from spti_ray.bench.scaling import driver_cost, scaling
from spti_ray.bench.streaming import streaming
from spti_ray.models.factory import FAKE
from spti_ray.observability import timeline

# No rule of a run hangs on the bench.
pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.slow]


def test_stages_stream_and_their_batches_are_on_the_timeline():
    figures, trace = streaming(batches=6, seconds=0.05)
    assert 0 < figures["streaming_s"] < figures["with_barriers_s"]
    rows = timeline.rows(trace)
    assert {row.rpartition(" ")[0] for row in rows} - {""} == {"writer", "renderer", "image_embedder"}
    assert sum(len(spans) for row, spans in rows.items() if row != "driver") == 2 * 3 * 6
    barriers, streamed = rows["driver"]
    work = [(row, s) for row, spans in rows.items() if row != "driver" for s in spans]

    def span_of(stage: str, phase) -> list:
        return [s for row, s in work if row.startswith(stage) and phase.begin <= s.end <= phase.end]

    last_written, first_rendered = (
        lambda phase: max(s.end for s in span_of("writer", phase)),
        lambda phase: min(s.begin for s in span_of("renderer", phase)),
    )
    assert first_rendered(barriers) >= last_written(barriers) - 0.02
    assert first_rendered(streamed) < last_written(streamed)


def test_an_engine_is_measured_bare_and_in_its_pool():
    figures = in_pool_over_bare("text_embedder", FAKE.text_embedder, batches=3, rounds=2)
    assert figures["bare"] > 0 and figures["pool"] > 0 and len(figures["ratios"]) == 2
    assert figures["per_gpu_second"] is None and figures["per_dollar"] is None


def test_engines_that_are_killed_lose_no_unit():
    figures = kills(num_actors=2, batches=24, batch_s=0.1, every_s=0.5, most=2)
    assert 1 <= figures["kills"] <= 2 and figures["tries_lost_per_kill"] <= 2


def test_scaling_and_the_drivers_cost_are_measured(monkeypatch):
    figures = scaling((1, 2), each_s=0.4)
    assert all(0 < value <= 1 for key, row in figures.items() if "_" in key for value in row)
    # Work that would take one engine too long is left to several.
    monkeypatch.setattr(bench_scaling, "LONGEST_S", 0.3)
    assert scaling((1, 2), each_s=0.4)["strong_0.1s"][0] is None
    cost = driver_cost(batches=100)
    assert cost["thread_us"] > 0 and cost["process_us"] > 0


def test_the_same_stages_run_through_our_pools_and_through_ray_data():
    figures = peers(num_actors=2, work_s=2.0)
    assert [(row["stages"], row["unit_s"]) for row in figures["rows"]] == [(1, 1.0), (1, 0.1), (3, 0.1)]
    assert all(0 < row[who] <= 1.01 for row in figures["rows"] for who in ("ours", "ray_data"))
