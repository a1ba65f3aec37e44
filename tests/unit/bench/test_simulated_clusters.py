"""The model of large clusters: what must come out where the answer is known."""

import pytest

from spti_ray.bench.simulated_clusters import cost_by_size, many_actors, spot_nodes


def test_a_driver_that_costs_nothing_keeps_every_engine_at_work():
    (row,) = many_actors(0.0, num_actors=50, seconds=(2.0,))
    assert row == {"unit_s": 2.0, "actors": 50, "efficiency": 1.0, "batches_a_call": 1, "call_s": 2.0}


def test_a_driver_that_can_serve_half_of_the_engines_keeps_half_of_them_at_work():
    """100 engines with units of 1 s take 100 a second; the driver hands out 50."""
    (row,) = many_actors(0.02, num_actors=100, seconds=(1.0,))
    assert row["efficiency"] == pytest.approx(0.5, abs=0.12)


def test_how_many_batches_go_in_a_call_is_told():
    """1,500 engines with batches of 1 s: more than the driver shall send one by one."""
    (row,) = many_actors(0.0, num_actors=1500, seconds=(1.0,))
    assert row["batches_a_call"] == 2 and row["call_s"] == 2.0


def test_nodes_that_are_taken_cost_the_unit_at_work_and_no_unit_is_given_up():
    quiet = spot_nodes(num_actors=20, lost_per_hour=1e-9)
    busy = spot_nodes(num_actors=20, lost_per_hour=5.0)
    assert quiet["preempted"] == 0 and quiet["waste"] == 0.0
    # 30 s units, a loss every 12 minutes: half a unit lost for each 24 that are done.
    assert busy["preempted"] > 100 and busy["units_given_up"] == 0
    assert busy["waste"] == pytest.approx(15 / (12 * 60), rel=0.25)


def test_the_cost_of_a_unit_is_told_for_every_size():
    rows = cost_by_size(sizes=(2, 20))
    assert [row["actors"] for row in rows] == [2, 20] and all(row["us_per_unit"] > 0 for row in rows)
