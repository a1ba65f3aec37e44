"""Releases, ledgers and run folders of earlier builds are read, proved and gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

import spti_ray
from spti_ray.config import identity as config_identity
from spti_ray.config.identity import config_sha256, resolved
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.dp.storage import open_chain
from spti_ray.driver import driver
from spti_ray.release.verify import release_and_chain, verify_release
from spti_ray.runs.folder import RunDir
from spti_ray.runs.run_file import continued, read_run
from spti_ray.runs.status import status_of

OLD = Path(__file__).parents[2] / "old_runs"
BUILDS = sorted(folder.name for folder in OLD.iterdir() if folder.is_dir())


@pytest.fixture(params=BUILDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what one build left, where the tests are now: its ledger's path is relative."""
    shutil.copytree(OLD / request.param, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("run", ["finished", "continued"])
@pytest.mark.parametrize("with_ledger", [False, True], ids=["ledger of run.yaml", "ledger named"])
def test_a_release_of_an_earlier_build_is_proved(place, run, with_ledger):
    checks = list(verify_release(*release_and_chain(Path(run), "ledger" if with_ledger else None)))
    assert checks and [check for check in checks if not check.holds] == []


def test_a_ledger_of_an_earlier_build_is_intact(place):
    entries = open_chain("ledger", "icons").read().entries
    assert [entry.kind for entry in entries].count("RELEASED") == 5


def test_an_earlier_builds_runs_tell_where_they_are(place):
    assert status_of(Path("finished")).state == "finished"
    assert status_of(Path("interrupted")).state == "interrupted" and status_of(Path("interrupted")).measured == 2


def test_an_interrupted_run_of_an_earlier_build_keeps_its_identity(place):
    config = continued(Path("interrupted"), load_config(Path("interrupted.yaml")))
    run = RunDir.open(Path("interrupted"), config)
    try:
        known = yaml.safe_load(Path("interrupted/run.yaml").read_text())
        assert (run.run_id, run.config_sha256) == (known["run"], known["config_sha256"])
    finally:
        run.unlock()
    changed = continued(Path("interrupted"), load_config(Path("interrupted.yaml"), ["evolution.candidates=17"]))
    with pytest.raises(ConfigError, match=r"evolution\.candidates was 16, now 17"):
        RunDir.open(Path("interrupted"), changed)


def test_a_run_that_another_build_began_has_the_hash_that_it_was_begun_with(tmp_path, make_config):
    """Whatever this build would hash: ledger and certificate know the run by the first."""
    RunDir.open(tmp_path / "run", make_config()).unlock()
    file = tmp_path / "run" / "run.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"config_sha256": "f" * 64}))
    run = RunDir.open(tmp_path / "run", make_config())
    run.unlock()
    assert run.config_sha256 == "f" * 64 != config_sha256(run.config)


def test_a_setting_that_a_stored_run_lacks_is_read_as_what_its_build_did(tmp_path, make_config, monkeypatch):
    RunDir.open(tmp_path, make_config()).unlock()
    file = tmp_path / "run.yaml"
    document = yaml.safe_load(file.read_text())
    del document["config"]["prompts"]["attempts"]
    file.write_text(yaml.safe_dump(document))
    monkeypatch.setattr(config_identity, "BEFORE", {"prompts.attempts": 1})
    assert read_run(tmp_path)["config"]["prompts"]["attempts"] == 1
    config = continued(tmp_path, make_config())
    assert config.prompts.attempts == 1
    RunDir.open(tmp_path, config).unlock()
    with pytest.raises(ConfigError, match=r"prompts\.attempts was 1, now 2"):
        RunDir.open(tmp_path, continued(tmp_path, load_config_with(make_config, 2)))


def load_config_with(make_config, attempts: int):
    config = make_config()
    return config.model_copy(update={"prompts": config.prompts.model_copy(update={"attempts": attempts})})


def test_from_python_the_settings_find_the_run_that_an_earlier_build_began(tmp_path, make_config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "run_config", lambda config, out, sign: out)
    config = make_config()
    monkeypatch.setattr(config_identity, "BEFORE", {"prompts.attempts": 1})
    now = spti_ray.run(resolved(config)).run
    then = Path("runs") / f"toys-{config_sha256(load_config_with(make_config, 1))[:12]}"
    assert now != then
    then.mkdir(parents=True)
    assert spti_ray.run(resolved(config)).run == then, "it would be charged twice"
    now.mkdir()
    assert spti_ray.run(resolved(config)).run == now
