"""Where commands may write: one set of rules, asked before any work."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.identity import resolved
from spti_ray.config.loading import ConfigError
from spti_ray.driver.driver import run_config
from spti_ray.runs.output_places import check_file, check_folder, check_writable
from spti_ray.runs.run_file import is_run, write_run_file


@pytest.fixture
def run(tmp_path):
    """The folder of a run with a release, as far as these rules look."""
    folder = tmp_path / "runs" / "a"
    for part in ("internal", "release", "generations"):
        (folder / part).mkdir(parents=True)
    write_run_file(folder, {"run": "7", "config": {}})
    _release(folder / "release")
    return folder


def _release(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("manifest.parquet", "datasheet.md"):
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize("below", [".", "internal", "internal/x", "release", "release/images/x", "x/y"])
def test_nothing_else_is_written_into_the_folder_of_a_run(run, below):
    with pytest.raises(
        ConfigError, match=rf"^--out {run / below}: is in (the folder of a run|a release), {run}.*; name a place"
    ):
        check_folder("--out", run / below)
    if (run / below).is_dir():
        with pytest.raises(ConfigError, match=r"page.html: is in (the folder of a run|a release), "):
            check_file("--html", run / below / "page.html")
    if below != ".":
        with pytest.raises(ConfigError, match="is in (the folder of a run|a release)"):
            check_folder("--out", run / below, of_run=True)


def test_what_may_be_in_a_run(run, tmp_path):
    check_folder("--out", run, of_run=True)
    check_folder("--out", run / "internal" / "evaluation", internal=True)
    with pytest.raises(ConfigError, match="is in (the folder of a run|a release)"):
        check_folder("--out", run / "generations" / "x", internal=True)
    check_folder("--out", run.parent / "b")
    link = tmp_path / "link"
    link.symlink_to(run / "internal")
    with pytest.raises(ConfigError, match="is in (the folder of a run|a release)"):
        check_folder("--out", link / "x")


def test_a_configuration_by_the_name_of_a_runs_file_makes_no_run(tmp_path, make_config):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(resolved(make_config())))
    assert not is_run(tmp_path)
    check_folder("--out", tmp_path / "runs" / "a", of_run=True)
    (tmp_path / "run.yaml").write_text("[")
    assert not is_run(tmp_path)
    (tmp_path / "internal").mkdir()
    assert is_run(tmp_path), "a run whose file is damaged"


def test_nothing_is_written_into_a_release_or_an_export_that_lies_alone(tmp_path):
    _release(tmp_path / "published")
    with pytest.raises(ConfigError, match="is in a release, "):
        check_folder("--out", tmp_path / "published" / "x")


def test_places_that_the_file_system_refuses_are_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/x", "file/x/y", "x" * 300, "/proc/x", "/dev/null/x"):
        with pytest.raises(ConfigError, match=rf"^--out {tmp_path / place}: .*") as caught:
            check_folder("--out", tmp_path / place)
        assert "; " in str(caught.value)
    for place in ("file/x", "nowhere/x", "/proc/x.html", ".", "x" * 300):
        with pytest.raises(ConfigError, match=rf"^--html {tmp_path / place}: .*; "):
            check_file("--html", tmp_path / place)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(ConfigError, match="circle"):
        check_folder("--out", tmp_path / "circle" / "x")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_what_the_system_says_of_a_place_is_in_the_line_and_nothing_is_left_there(tmp_path, monkeypatch, number):
    def refuse(**_):
        raise OSError(number, os.strerror(number), str(tmp_path / ".tmp-x"))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ConfigError) as caught:
        check_writable("ledger.path", tmp_path / "a" / "b")
    why = os.strerror(number).lower()
    assert str(caught.value) == (
        f"ledger.path {tmp_path / 'a' / 'b'}: nothing can be written in {tmp_path} ({why}); name a place elsewhere"
    )
    monkeypatch.undo()
    check_writable("ledger.path", tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


COMMANDS = {
    "run": ["run", "my.yaml", "--out", "{}"],
    "check": ["check", "my.yaml", "--out", "{}"],
    "refine": ["refine", "finished", "--images", "5", "--out", "{}"],
    "export": ["export", "published", "--format", "parquet", "--out", "{}"],
    "plan": ["plan", "my.yaml", "--html", "{}"],
    "init": ["init", "toys", "--template", "--dataset", "toys", "--out", "{}"],
    "evaluate": ["evaluate", "published", "--reference", "images", "--out", "{}"],
    "evaluate's cache": ["evaluate", "published", "--reference", "images", "--out", "figures", "--cache", "{}"],
    "manifest": ["manifest", "render", "job.yaml", "--cluster", "cluster.yaml", "--out", "{}"],
    "bench": ["bench", "--out", "{}"],
    "anchor": ["ledger", "anchor", "ledger", "--out", "{}"],
}
EXAMPLES = Path(__file__).parents[3] / "cluster" / "example"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_writes_asks_by_these_rules(command, run, tmp_path, make_config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = resolved(make_config(data__path=str(tmp_path / "images"), runtime__executor="local"))
    (tmp_path / "my.yaml").write_text(json.dumps(config))
    (tmp_path / "images").mkdir()
    (tmp_path / "published").mkdir()
    for name in ("run.yaml", "cluster.yaml"):
        (tmp_path / name.replace("run", "job")).write_text((EXAMPLES / name).read_text())
    if command == "refine":
        monkeypatch.setattr("spti_ray.runs.refinement.refined", lambda *_: make_config(runtime__executor="local"))
    if command == "export":
        monkeypatch.setattr("spti_ray.release.export.command.read_release", lambda _: _Nothing(tmp_path / "published"))
    for place in (run / "generations" / "x", "/proc/x", tmp_path / "my.yaml" / "x"):
        done = CliRunner().invoke(app, [word.format(place) for word in COMMANDS[command]])
        said = done.output.strip().splitlines()
        assert done.exit_code == 2 and said[-1].startswith("spti: --"), done.output
        assert str(place) in said[-1] and not {"Errno", "Traceback"} & set(done.output.split())
    empty = CliRunner().invoke(app, [word.format("") for word in COMMANDS[command]])
    assert empty.exit_code == 2 and "is empty; " in " ".join(empty.output.split())


class _Nothing:
    """What an export reads of a release, before it has found its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def test_a_ledger_that_can_not_be_written_is_told_before_a_folder_is_made(tmp_path, make_config, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("spti_ray.driver.driver.describe", lambda *_: None)
    config = make_config(
        data__path=str(tmp_path / "images"), ledger__path=str(tmp_path / "file" / "x"), runtime__executor="local"
    )
    with pytest.raises(ConfigError, match=r"^ledger.path .*/file is a file and no folder"):
        run_config(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()
