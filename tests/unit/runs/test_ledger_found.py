"""Whoever has a run's folder, or its configuration, finds its ledger; and is told where it is not."""

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.evaluate.ledger_record import record_evaluation
from spti_ray.release.certify import FinishedRun
from spti_ray.release.checks import NotVerified
from spti_ray.release.report.publishable import publishable
from spti_ray.release.verify import release_and_chain
from spti_ray.runs.continuation import Origin
from spti_ray.runs.folder import RunDir, read_run
from spti_ray.runs.ledger_check import check_ledger, keep_ledger
from spti_ray.runs.run_file import continued
from spti_ray.runs.status import status_of

OLD = Path(__file__).parents[2] / "old_runs" / "ab5e8e4"


def spti(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout + result.stderr


@pytest.fixture
def old(tmp_path, monkeypatch):
    """What an earlier build left in a folder, and we are elsewhere."""
    shutil.copytree(OLD, tmp_path / "project")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


@pytest.fixture
def new(old):
    """The same as this build would have stored it."""
    for run in ("finished", "interrupted"):
        file = old / run / "run.yaml"
        document = yaml.safe_load(file.read_text())
        document["config"]["ledger"]["relative_to"] = str(old)
        file.write_text(yaml.safe_dump(document))
    return old


def test_all_who_read_a_runs_folder_find_its_ledger_from_anywhere(new):
    assert status_of(new / "finished").in_ledger and status_of(new / "interrupted").epsilon_spent > 0
    assert release_and_chain(new / "finished", None)[1].location == f"{new}/ledger/icons.jsonl"
    FinishedRun(new / "finished")
    assert Origin(new / "finished").certificate()
    config = Origin(new / "finished").config
    known = str(read_run(new / "finished")["run"])
    assert f"{new}/ledger/icons.jsonl" in record_evaluation(new / "finished", known, config, "judged by x")


def test_where_the_ledger_is_not_all_say_so_and_what_to_do(new):
    (new / "ledger").rename(new / "moved")
    lines = status_of(new / "finished").lines(new / "finished")
    assert any(f"{new}/ledger/icons.jsonl does not know this run" in line for line in lines)
    assert not any("spent" in line or "0 of" in line for line in lines), "it is not known, and not nothing"
    assert any("generations were measured is unknown" in line for line in lines)
    correct = "correct `ledger` in the run.yaml"
    origin = Origin(new / "finished")
    for use in (lambda: FinishedRun(new / "finished"), lambda: origin.certificate()):
        with pytest.raises(ConfigError, match=correct):
            use()
    with pytest.raises(ConfigError, match=correct):
        record_evaluation(new / "finished", origin.run_id, origin.config, "judged by x")
    with pytest.raises(NotVerified, match=correct):
        release_and_chain(new / "finished", None)
    file = new / "finished" / "run.yaml"
    file.write_text(file.read_text().replace("path: ledger", "path: moved"))
    assert status_of(new / "finished").in_ledger


def test_a_run_of_an_earlier_build_says_to_go_where_it_was_started(old, monkeypatch):
    with pytest.raises(NotVerified, match="go to the folder in which it was started"):
        release_and_chain(old / "finished", None)
    assert not status_of(old / "finished").in_ledger
    assert "go to the folder in which it was started" in status_of(old / "finished").lines(old / "finished")[-1]
    monkeypatch.chdir(old)
    assert status_of(old / "finished").in_ledger and release_and_chain(old / "finished", None)


def test_the_ledger_commands_take_a_configuration_or_a_run_for_its_ledger(new):
    for named in (new / "interrupted.yaml", new / "finished", new / "ledger"):
        code, told = spti("ledger", "history", named)
        assert code == 0 and told.startswith(f"{new}/ledger/icons.jsonl\n"), told
    code, told = spti("ledger", "show", "bundled:stickers")
    assert code == 2 and "spti-ray/ledger/stickers.jsonl: no ledger here" in told


def test_a_data_set_is_registered_where_its_configurations_look_for_it(new):
    file = new / "configs" / "my.yaml"
    file.parent.mkdir()
    file.write_text((new / "interrupted.yaml").read_text())
    code, told = spti("ledger", "register", "icons", "--delta", "1e-5", "--ledger", file)
    assert code == 0 and f"is registered in {new}/configs/ledger/icons.jsonl" in told
    code, told = spti("ledger", "register", "others", "--delta", "1e-5", "--ledger", file)
    assert code == 2 and "is a configuration of dataset icons, not others" in told
    code, told = spti("ledger", "register", "others", "--delta", "1e-5", "--ledger", "books")
    assert code == 0 and f"is registered in {Path.cwd()}/books/others.jsonl" in told


def test_no_folder_of_this_machine_is_in_a_report():
    section = {"path": "books", "relative_to": "/home/me/project"}
    assert "/home/me" not in str(publishable({"ledger": section}))


@pytest.mark.parametrize("again", [False, True], ids=["by its relative path", "by its absolute path"])
def test_a_run_of_an_earlier_build_that_goes_on_is_told_where_its_ledger_is(old, monkeypatch, again):
    file = old / "interrupted" / "run.yaml"
    before = yaml.safe_load(file.read_text())
    elsewhere = Path.cwd()
    monkeypatch.chdir(old)
    overrides = [f"ledger.path={old}/ledger"] if again else []
    config = continued(Path("interrupted"), load_config(Path("interrupted.yaml"), overrides))
    check_ledger(config, Path("interrupted"))
    run = RunDir.open(Path("interrupted"), config)
    keep_ledger(config, run)
    run.unlock()
    monkeypatch.chdir(elsewhere)
    after = yaml.safe_load(file.read_text())
    assert after["config"]["ledger"].pop("relative_to") == str(old)
    assert after == before, "nothing else, its hash included"
    status = status_of(old / "interrupted")
    assert status.in_ledger and status.measured == 2
    monkeypatch.chdir(old)
    check_ledger(config, Path("interrupted"))
    known = file.read_text()
    run = RunDir.open(Path("interrupted"), config)
    keep_ledger(config, run)
    run.unlock()
    assert file.read_text() == known
