"""What was refused after its nodes had come is told again before any is asked for."""

import json

import pytest
from rich.console import Console

from spti_ray.dp.budget import BudgetRefused
from spti_ray.driver import attempt, driver
from spti_ray.errors import BUDGET, FAILED, USAGE, exit_code
from spti_ray.evolution.generations import BudgetExhausted
from spti_ray.private.kinds import DataError
from spti_ray.runs.refusal import STANDS_S, Refusal, RefusedBefore, SpentBefore
from spti_ray.runtime.executor import Executor
from tests.unit.conftest import config_with

UNFIT = DataError("evolution.labels: no label is a folder of data.path")
SPENT = BudgetExhausted("every planned query was burned by crashes; start a new run, or plan spare_slots")


class Clock:
    now = 1e9

    def __call__(self):
        return self.now


def refused(folder, error, config=None, data="as it was", clock=None):
    refusal = Refusal(folder, config or config_with(), lambda: data, clock or Clock())
    with pytest.raises(type(error)), refusal.kept():
        raise error
    return refusal


@pytest.mark.parametrize(("error", "kind", "code"), [(UNFIT, RefusedBefore, USAGE), (SPENT, SpentBefore, BUDGET)])
def test_a_refusal_is_told_again_with_its_exit_code_and_what_to_do(error, kind, code, tmp_path):
    with pytest.raises(kind) as caught:
        refused(tmp_path, error).check()
    line = str(caught.value)
    assert exit_code(caught.value) == code and str(error) in line and "\n" not in line
    assert f"delete {tmp_path / 'refused.json'}" in line
    assert (tmp_path / "refused.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "change",
    [
        {"config": config_with(runtime__shards=3)},
        {"data": "touched"},
        {"later": STANDS_S},
        {"later": -1},
        {"file": "no json"},
        {"file": "{}"},
        {"file": "[]"},
    ],
)
def test_a_refusal_stands_only_while_nothing_has_changed_and_for_an_hour(change, tmp_path):
    clock = Clock()
    refused(tmp_path, UNFIT, clock=clock)
    clock.now += change.get("later", 60.0)
    if "file" in change:
        (tmp_path / "refused.json").write_text(change["file"])
    Refusal(tmp_path, change.get("config", config_with()), lambda: change.get("data", "as it was"), clock).check()


@pytest.mark.parametrize("error", [RuntimeError("a node went"), BudgetRefused("spent"), OSError(28, "No space left")])
def test_what_may_end_otherwise_next_time_is_no_refusal(error, tmp_path):
    assert exit_code(error) in (FAILED, BUDGET)
    refused(tmp_path, error).check()
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_about_the_data_that_the_attempt_began_with(tmp_path):
    """Files that changed in mid-run are a reason to end, and none to refuse the next attempt."""
    states = iter(["before", "after"])
    refusal = Refusal(tmp_path, config_with(), lambda: next(states), Clock())
    with pytest.raises(DataError), refusal.kept():
        raise UNFIT
    refusal.check()


def test_what_goes_well_forgets_a_refusal(tmp_path):
    refusal = refused(tmp_path, UNFIT)
    with refusal.kept():
        pass
    assert list(tmp_path.iterdir()) == []


class Cluster(Executor):
    """Counts how often nodes are asked for; then the data turn out to be unusable."""

    name = "a cluster"

    def __init__(self):
        self.asked = 0

    def check(self, config):
        pass

    def open(self, *_):
        self.asked += 1
        raise UNFIT


def test_an_attempt_that_is_made_by_itself_asks_for_no_node_after_a_refusal(tmp_path, monkeypatch):
    cluster, config = Cluster(), config_with(ledger__path=str(tmp_path / "ledger"))
    monkeypatch.setattr(attempt, "executor_of", lambda config: cluster)

    def ended(**how):
        with pytest.raises((DataError, RefusedBefore)) as caught:
            driver.run_config(config, tmp_path / "run", Console(quiet=True), **how)
        return exit_code(caught.value), cluster.asked

    assert [ended(unattended=True) for _ in range(4)] == [(USAGE, 1)] * 4
    # Somebody who starts it by hand means it, and may know more than the run folder.
    assert ended() == (USAGE, 2)
    assert json.loads((tmp_path / "run" / "internal" / "refused.json").read_text())["code"] == USAGE
