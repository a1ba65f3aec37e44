"""The data card of a run that is rerun with another `release.card`, and that nothing else moves."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from spti_ray.config import CardConfig, Config
from spti_ray.config.loading import ConfigError
from spti_ray.driver import card as module
from spti_ray.driver import driver
from spti_ray.driver.card import take_up_card
from spti_ray.driver.driver import run_config
from spti_ray.io import files
from spti_ray.public import release as release_module
from spti_ray.runs import run_file
from spti_ray.runs.folder import RunDir

NEW = CardConfig(license="MIT", creator="A hospital", version="2.0.0")


def with_card(config: Config, card: CardConfig) -> Config:
    return config.model_copy(update={"release": config.release.model_copy(update={"card": card})})


def files_of(folder: Path) -> dict[str, bytes]:
    inside = folder / "internal"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and (not path.is_relative_to(inside) or path.name == "card-begun")
    }


def taken_up(config: Config, folder: Path) -> bool:
    run = RunDir.open(folder, config)
    try:
        return take_up_card(config, run)
    finally:
        run.unlock()


def killed_after(left: Iterator[int], write: Callable[..., object]) -> Callable[..., None]:
    """`write` while there is one left, then a kill."""

    def counted(*arguments: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(*arguments)

    return counted


def short_report(folder: Path) -> None:
    (folder / "release" / "report.html").write_bytes((folder / "run.yaml").read_bytes())


@pytest.fixture
def finished(measured, tmp_path) -> Path:
    return shutil.copytree(measured.folder, tmp_path / "run")


def test_a_finished_run_takes_up_another_card_and_nothing_else(measured, finished, spti):
    before, charges, told = files_of(finished), len(measured.entries()), io.StringIO()
    run_config(with_card(measured.config, NEW), finished, Console(file=told, width=1000))
    after = files_of(finished)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"run.yaml", *(f"release/{name}" for name in ("croissant.json", "datasheet.md", "report.html"))}
    assert before.keys() == after.keys() and len(measured.entries()) == charges
    assert "now have the release.card of this configuration" in told.getvalue()
    machine = json.loads(after["release/croissant.json"])
    assert (machine["license"], machine["version"]) == ("https://spdx.org/licenses/MIT.html", "2.0.0")
    sheet = after["release/datasheet.md"].decode()
    assert "license: mit" in sheet and "- **Published:** version 2.0.0, by A hospital.\n" in sheet
    assert "A hospital" in after["release/report.html"].decode()
    assert yaml.safe_load(after["run.yaml"])["config"]["release"]["card"]["creator"] == "A hospital"
    assert spti("verify", finished, "--quiet")[0] == 0
    assert not taken_up(with_card(measured.config, NEW), finished) and files_of(finished) == after
    assert taken_up(measured.config, finished) and files_of(finished) == before


def test_a_kill_between_its_files_leads_to_the_same_end(measured, finished, monkeypatch):
    # A report takes a second: here it is what it is built from.
    monkeypatch.setattr(module, "build_report", short_report)
    short_report(finished)
    before, run = files_of(finished), RunDir.open(finished, measured.config)
    new, old = with_card(measured.config, NEW), measured.config
    take_up_card(new, run)
    after, places = files_of(finished), [(run_file, "write_atomic"), (release_module, "write_atomic")]
    for stop in range(4):
        for again, end in ((new, after), (old, before)):
            for name, content in before.items():
                (finished / name).write_bytes(content)
            with monkeypatch.context() as patch:
                left = iter(range(stop))
                for where, name in (*places, (module, "build_report")):
                    patch.setattr(where, name, killed_after(left, getattr(where, name)))
                with pytest.raises(KeyboardInterrupt):
                    take_up_card(new, run)
            assert take_up_card(again, run) and files_of(finished) == end
    run.unlock()


def test_a_version_that_an_earlier_build_made_up_is_no_reason_to_rewrite_a_release(measured, finished):
    stored = yaml.safe_load((finished / "run.yaml").read_text())
    stored["config"]["release"]["card"]["version"] = "1.0.0"
    (finished / "run.yaml").write_text(yaml.safe_dump(stored))
    before = files_of(finished)
    assert not taken_up(measured.config, finished) and files_of(finished) == before
    assert taken_up(with_card(measured.config, CardConfig(license="MIT")), finished)
    assert json.loads((finished / "release" / "croissant.json").read_text())["version"] == "1.0.0"


def test_a_run_without_a_release_yet_is_to_say_the_card_of_its_last_start(measured, tmp_path):
    out = tmp_path / "begun"
    for config in (measured.config, with_card(measured.config, NEW)):
        assert not taken_up(config, out)
    assert yaml.safe_load((out / "run.yaml").read_text())["config"]["release"]["card"]["creator"] == "A hospital"


def test_a_release_that_cannot_be_read_is_left_alone_in_one_line(measured, finished):
    (finished / "release" / "manifest.parquet").write_bytes(b"no table")
    before = files_of(finished)
    with pytest.raises(ValueError, match="manifest.parquet: can't be read as Parquet; restore the release"):
        taken_up(with_card(measured.config, NEW), finished)
    assert files_of(finished) == before


def test_the_card_of_a_finished_run_changes_after_its_images_and_packages_are_gone(
    measured, finished, quiet, monkeypatch
):
    def gone(*_: object) -> None:
        raise ConfigError("is not here any more")

    for name in ("describe", "check_build", "check_writable"):
        monkeypatch.setattr(driver, name, gone)
    monkeypatch.setattr(module, "build_report", short_report)
    run_config(with_card(measured.config, NEW), finished, quiet)
    assert "A hospital" in (finished / "release" / "datasheet.md").read_text()
    with pytest.raises(ConfigError, match="holds a run of another configuration"):
        run_config(measured.config.model_copy(update={"method": "random"}), finished, quiet)
    (finished / "release" / "report.html").unlink()
    with pytest.raises(ConfigError, match="is not here any more"):
        run_config(measured.config, finished, quiet)


def test_that_a_rewrite_has_begun_is_on_disk_before_anything_changes(measured, finished, monkeypatch):
    run, on_disk = RunDir.open(finished, measured.config), []
    monkeypatch.setattr(module, "build_report", short_report)
    monkeypatch.setattr(files, "fsync_folder", lambda folder: on_disk.append((folder, files_of(finished))))
    before = files_of(finished)
    take_up_card(with_card(measured.config, NEW), run)
    run.unlock()
    assert on_disk[0] == (finished / "internal", before | {"internal/card-begun": b""})


def test_the_report_is_not_said_to_have_a_card_before_there_is_one(measured, finished, monkeypatch):
    (finished / "release" / "report.html").unlink()
    monkeypatch.setattr(driver.Attempt, "go", lambda _: finished / "release")
    told = io.StringIO()
    run_config(with_card(measured.config, NEW), finished, Console(file=told, width=1000))
    assert f"{finished}: datasheet.md and croissant.json now have the release.card" in told.getvalue()
