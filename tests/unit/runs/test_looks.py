"""Looks at the private images before their run: noted in its folder, and told to whatever ledger charges it."""

import stat

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.dp.ledger import Ledger
from spti_ray.runs.folder import RunDir
from spti_ray.runs.looks import note_look, noted_run, record_looks


def test_the_run_of_a_folder_has_the_id_that_its_first_look_gave_it(tmp_path, make_config):
    before = RunDir.before_run(tmp_path / "run", make_config())
    note_look(before.path, before.run_id, "spti check, one")
    before.unlock()
    again = RunDir.before_run(tmp_path / "run", make_config(privacy__epsilon=1.0))
    again.unlock()
    run = RunDir.open(tmp_path / "run", make_config(privacy__epsilon=1.0))
    run.unlock()
    assert before.run_id == again.run_id == run.run_id == noted_run(tmp_path / "run") != ""
    assert stat.S_IMODE((run.internal / "looks.json").stat().st_mode) == 0o600


def test_each_look_is_told_once_to_each_ledger(tmp_path):
    for what in ("spti check, one", "spti check, two"):
        note_look(tmp_path / "run", "r", what)
    for folder in ("a", "b"):
        ledger = Ledger(tmp_path / folder, "toys")
        ledger.register(4.0, 1e-5)
        for _ in range(2):
            record_looks(tmp_path / "run", "r", ledger)
        events = [entry.event for entry in ledger.entries()[1:]]
        assert [(event.run, event.metric) for event in events] == [("r", "spti check, one"), ("r", "spti check, two")]


def test_a_folder_without_looks_tells_nothing(tmp_path):
    ledger = Ledger(tmp_path / "ledger", "toys")
    record_looks(tmp_path / "run", "r", ledger)
    assert noted_run(tmp_path / "run") == "" and ledger.entries() == []


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"run": "r"}'])
def test_a_note_that_can_not_be_read_ends_the_run_in_one_line(tmp_path, make_config, damaged):
    (tmp_path / "run" / "internal").mkdir(parents=True)
    (tmp_path / "run" / "internal" / "looks.json").write_text(damaged)
    for begin in (RunDir.open, RunDir.before_run):
        with pytest.raises(ConfigError, match="says who looked at the data; restore it") as caught:
            begin(tmp_path / "run", make_config())
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "run.yaml").exists()
