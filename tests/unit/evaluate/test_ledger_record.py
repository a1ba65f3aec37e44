"""Every look with a private metric is in the ledger before a figure is seen."""

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.dp.calibration import plan_at
from spti_ray.dp.history import history
from spti_ray.dp.ledger import Ledger
from spti_ray.evaluate.ledger_record import record_evaluation


@pytest.fixture
def config(make_config, tmp_path):
    return make_config(ledger__path=str(tmp_path / "ledger"))


def test_a_look_is_recorded_in_the_runs_ledger(config, tmp_path):
    ledger = Ledger(config.ledger.path, config.dataset.id)
    ledger.register(4.0, 1e-5)
    ledger.open_run("r", plan_at(8.0, 1.0, 1e-5, 1, 3, 1), "c", "n", True)
    assert "recorded" in record_evaluation(tmp_path, "r", config, "judged by x")
    assert history(ledger.entries())[0].evaluated_by == ("judged by x",)


def test_a_run_that_charged_nothing_is_in_no_ledger(config, tmp_path):
    assert "no look was recorded" in record_evaluation(tmp_path, "r", config, "judged by x")
    assert not (tmp_path / "ledger").exists()


def test_a_run_whose_ledger_is_not_here_is_not_looked_at(config, tmp_path):
    folder = tmp_path / "generations" / "00"
    folder.mkdir(parents=True)
    (folder / "histogram-ab.arrow").touch()
    with pytest.raises(ConfigError, match="can't be recorded"):
        record_evaluation(tmp_path, "r", config, "judged by x")


def test_a_look_at_what_is_not_private_is_recorded_though_the_run_charged_nothing(config, tmp_path):
    ledger = Ledger(config.ledger.path, config.dataset.id)
    ledger.register(4.0, 1e-5)
    ledger.record_unprotected_run("r", "NOT PRIVATE: renders of captions")
    assert "recorded" in record_evaluation(tmp_path, "r", config, "judged by x")
    assert [entry.event.metric for entry in ledger.entries() if entry.kind == "EVALUATED"][-1] == "judged by x"


def test_a_rerendering_is_not_looked_at_where_the_ledger_of_its_run_is_not(make_config, tmp_path):
    config = make_config(ledger__path=str(tmp_path / "ledger"), origin={"run": "r", "path": "runs/r", "rerender": True})
    with pytest.raises(ConfigError, match="can't be recorded"):
        record_evaluation(tmp_path, config.certified_run("mine"), config, "judged by x")
