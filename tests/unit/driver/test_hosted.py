"""A run whose driver is elsewhere: what its watchers see, and what stops it."""

import io
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from spti_ray.config.loading import ConfigError
from spti_ray.dp.budget import BudgetRefused
from spti_ray.driver import driver, hosted
from spti_ray.driver.hosted import End, HostedRun, Look, cluster_of
from spti_ray.driver.process import Terminated
from spti_ray.errors import EndedElsewhere, exit_code, one_line
from spti_ray.observability.progress import Reading
from spti_ray.runtime.ray import cluster, driver_actor
from tests.unit.conftest import config_with


class Driver:
    """One that says what it was given to say; an exception is raised."""

    joined = False

    def __init__(self, *looks, ends=True):
        self._looks = list(looks)
        self._end = End(1, "interrupted") if ends else None
        self.stopped = self.killed = False

    def look(self):
        if self.stopped:
            return False, Look(Reading(), (), self._end)
        told = self._looks.pop(0)
        if isinstance(told, BaseException):
            raise told
        return told

    def stop(self):
        self.stopped = True

    def kill(self):
        self.killed = True


def said(*notes, end=None, stage="votes"):
    return False, Look(Reading(stage), notes, end)


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setattr(hosted, "_LOOK_S", 0.0)
    out = io.StringIO()

    def watching(*looks, **more):
        told = Driver(*looks, **more)
        return told, lambda: hosted._watch(told, Console(file=out, width=200)), out

    return watching


def test_lines_and_stages_are_shown_as_they_come_until_the_end(watch):
    _, go, out = watch(said("epsilon 1"), said(), said("release: there", end=End(0, "/r/release"), stage="release"))
    assert go() == End(0, "/r/release")
    assert out.getvalue().splitlines() == ["epsilon 1", "00:00 votes", "release: there", "00:00 release"]


def test_a_driver_that_is_away_is_looked_for_and_one_that_was_started_again_is_told_of(watch):
    back = True, Look(Reading("votes"), ("attempt 2",), None)
    _, go, out = watch(said("attempt 1"), (False, None), (False, None), back, said(end=End(0, "/r")))
    assert go() == End(0, "/r")
    told = out.getvalue()
    assert told.count("does not answer") == 1 and told.count("was started again") == 1 and "attempt 2" in told


def test_a_terminated_command_stops_the_run(watch):
    told, go, _ = watch(said(), Terminated())
    assert go().code == 1 and told.stopped and not told.killed


def test_a_run_that_does_not_stop_when_told_is_ended(watch, monkeypatch):
    told, go, _ = watch(Terminated(), ends=False)
    monkeypatch.setattr(hosted, "_STOPS_WITHIN_S", 0.05)
    assert go().code == 1 and told.killed


def test_without_a_terminal_an_interrupted_command_stops_the_run(watch):
    told, go, _ = watch(KeyboardInterrupt())
    assert go().code == 1 and told.stopped


@pytest.mark.parametrize("answer, stops", [("w", False), ("s", True), ("", True)])
def test_in_a_terminal_ctrl_c_asks_whether_it_is_meant_for_the_run(watch, monkeypatch, answer, stops):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: answer)
    told, go, _ = watch(KeyboardInterrupt())
    if stops:
        assert go().code == 1
    else:
        with pytest.raises(EndedElsewhere, match="the run goes on") as caught:
            go()
        assert exit_code(caught.value) == 0
    assert told.stopped == stops


@pytest.mark.parametrize(
    "error, code, line",
    [
        (BudgetRefused("the lifetime budget is spent"), 3, "the lifetime budget is spent"),
        (ValueError("patient Smith"), 1, "unexpected ValueError; /runs/a/internal/driver.log says where"),
        (KeyboardInterrupt(), 1, "interrupted; run the same command again to go on"),
    ],
)
def test_an_error_of_the_run_is_an_exit_code_and_a_line_without_private_words(monkeypatch, error, code, line):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(driver, "run_config", fails)
    run = HostedRun(config_with(), Path("/runs/a"), unattended=False)
    run.run()
    assert run.look(0).end == End(code, line)


def test_a_look_has_the_lines_that_were_not_seen_yet(monkeypatch):
    def makes(config, out, unattended, journal):
        journal.note("one")
        journal.note("two")
        return out / "release"

    monkeypatch.setattr(driver, "run_config", makes)
    run = HostedRun(config_with(), Path("/runs/a"), unattended=False)
    assert run.look(0).end is None
    run.run()
    assert run.look(0).notes == ("one", "two") and run.look(1).notes == ("two",) and run.look(2).notes == ()
    assert run.look(2).end == End(0, "/runs/a/release")


def test_the_driver_is_an_actor_on_a_cluster_that_is_joined_and_nowhere_else(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "is_joined", lambda: False)
    assert cluster_of(config_with()) is None, "Ray of its own ends with the command"
    assert cluster_of(config_with(runtime__address="head:6379")) == "head:6379"
    assert cluster_of(config_with(runtime__address="ray://head:10001")) is None
    assert cluster_of(config_with(runtime__executor="local")) is None
    monkeypatch.setattr(cluster, "is_joined", lambda: True)
    assert cluster_of(config_with(runtime__address="auto")) is None, "a notebook that has joined one, or an actor"


def watched(monkeypatch, tmp_path, made):
    monkeypatch.setattr(cluster, "session", lambda *_: nullcontext())
    monkeypatch.setattr(driver_actor, "HostedDriver", made)
    monkeypatch.setattr(cluster, "is_joined", lambda: False)
    return driver.run_config(config_with(runtime__address="head:6379", ledger__path=str(tmp_path)), tmp_path / "run")


def test_a_signer_of_this_process_is_refused_where_the_driver_would_be_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "is_joined", lambda: False)
    config = config_with(runtime__address="head:6379", ledger__path=str(tmp_path))
    with pytest.raises(ConfigError, match="sign: signs in this process"):
        driver.run_config(config, tmp_path / "run", sign=bytes.upper)
    assert not (tmp_path / "run").exists()


def test_a_run_with_other_settings_in_the_folder_is_not_joined(monkeypatch, tmp_path):
    def taken(name, claim, make, runtime):
        raise driver_actor.NameTaken(name)

    with pytest.raises(ConfigError, match="a run with other settings is at work there"):
        watched(monkeypatch, tmp_path, taken)


def test_the_end_elsewhere_is_the_end_here(monkeypatch, tmp_path):
    with pytest.raises(EndedElsewhere) as caught:
        watched(monkeypatch, tmp_path, lambda *_: Driver(said(end=End(4, "no room; add nodes"))))
    assert (exit_code(caught.value), one_line(caught.value)) == (4, "no room; add nodes")
    done = watched(monkeypatch, tmp_path, lambda *_: Driver(said(end=End(0, str(tmp_path / "run" / "release")))))
    assert done == tmp_path / "run" / "release"
