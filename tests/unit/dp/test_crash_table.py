"""The contract's table "crash | the charge | on resume", with drivers that are killed by SIGKILL in their own process.

Each row is tried with the ledger in a local folder and in a bucket. `Watch` checks, besides what the row says, what
must hold always. That these checks see what they are there for: test_faulty_gates.py.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings

from spti_ray.dp.lease import SlotsExhausted
from tests.unit.dp.bench import PLAN, Bench, run_generations
from tests.unit.dp.crashes import (
    ACCIDENTS,
    Accident,
    MemoryBench,
    Row,
    check_resume,
    check_row,
    crash,
    kill,
    survive,
)
from tests.unit.dp.watch import Watch

pytestmark = pytest.mark.usefixtures("cheap")

TABLE = [
    Row("opened", False, False, False, "start over", generation=0),
    Row("before_reserved#2", False, False, False, "start over"),
    Row("torn RESERVED#2", False, False, False, "start over"),
    Row("durable RESERVED#2", True, False, False, "burn"),
    Row("after_reserved#2", True, False, False, "burn"),
    Row("after_votes#2", True, False, False, "burn"),
    Row("after_draw#2", True, True, False, "burn"),
    Row("in_artifact#2", True, True, False, "burn"),
    Row("after_artifact#2", True, True, True, "adopt"),
    Row("torn COMMITTED#2", True, True, True, "adopt"),
    Row("durable COMMITTED#2", True, True, True, "replay"),
    Row("after_committed#2", True, True, True, "replay"),
    Row("torn RELEASED#2", True, True, True, "replay"),
    Row("durable RELEASED#2", True, True, True, "replay"),
    Row("after_released#2", True, True, True, "replay"),
]

CRASHED_AGAIN = [  # first crash, where its settling crashes, what the start after that does, slots burned in the end
    ("after_draw#2", "opened", "burn", 1),
    ("after_draw#2", "torn BURNED", "burn", 1),
    ("after_draw#2", "durable BURNED", "start over", 1),
    ("after_draw#2", "burned", "start over", 1),
    ("after_draw#2", "torn RESERVED", "start over", 1),
    ("after_draw#2", "in_artifact", "burn", 2),
    ("after_artifact#2", "opened", "adopt", 0),
    ("after_artifact#2", "torn COMMITTED", "adopt", 0),
    ("after_artifact#2", "durable COMMITTED", "replay", 0),
    ("after_artifact#2", "adopted", "replay", 0),
    ("after_artifact#2", "torn RELEASED", "replay", 0),
    ("after_committed#2", "torn RELEASED", "replay", 0),
    ("after_committed#2", "durable RELEASED", "replay", 0),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.where)
def test_a_killed_drivers_generation_is_settled_as_the_table_says(bench: Bench, row: Row):
    kill(bench, row.where)
    check_row(bench, row)


@pytest.mark.parametrize(("first", "second", "on_resume", "burned"), CRASHED_AGAIN)
def test_a_driver_killed_while_it_settles_is_settled_by_the_next(
    bench: Bench, first: str, second: str, on_resume: str, burned: int
):
    crash(bench, first)
    watch = Watch(bench)
    watch.look()
    kill(bench, second)
    watch.look()
    check_resume(bench, watch, 1, on_resume)
    assert bench.kinds()["BURNED"] == burned
    assert bench.kinds()["RESERVED"] == PLAN.generations + burned


@pytest.mark.parametrize("point", ["after_draw", "in_artifact"])
def test_an_error_after_the_draw_burns_at_once_while_the_ledger_is_reachable(bench: Bench, point: str):
    crash(bench, f"{point}#2", ledger_reachable=True)
    watch = Watch(bench)
    watch.look()
    assert bench.kinds()["BURNED"] == 1
    check_resume(bench, watch, 1, "start over")


def test_spare_slots_run_out_and_then_nothing_is_drawn_any_more(bench: Bench):
    watch = Watch(bench)
    for _ in range(PLAN.slots):
        crash(bench, "after_draw")
        watch.look()
    gate = bench.opened()
    with pytest.raises(SlotsExhausted):
        run_generations(gate)
    watch.look()
    assert bench.draws() == bench.kinds()["BURNED"] == PLAN.slots and watch.readable == {}


@pytest.mark.parametrize("kind", ["file", "memory"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accidents=ACCIDENTS)
def test_no_sequence_of_accidents_breaks_the_rules(
    tmp_path_factory: pytest.TempPathFactory, cheap: pytest.MonkeyPatch, kind: str, accidents: list[Accident]
):
    root = tmp_path_factory.mktemp("run")
    cheap.setattr(os, "fsync", lambda fd: None)  # the power does not fail here
    survive(Bench(root, root / "ledger") if kind == "file" else MemoryBench(root), accidents, cheap)
