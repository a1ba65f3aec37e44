"""`spti check` on local processes with the fake engines: what it leaves, what it tells, and what a later run takes."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from spti_ray.check.command import check_images
from spti_ray.config import Config, ShardConfig
from spti_ray.config.loading import ConfigError
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.history import history
from spti_ray.dp.ledger import Ledger, NotRegistered
from spti_ray.runtime.local.engines import kept_engines
from spti_ray.runtime.voter import ShardFailed, ShardVoter
from tests.local_runs import plant_images, run
from tests.unit.conftest import config_with


@pytest.fixture(scope="module", autouse=True)
def kept() -> Iterator[None]:
    with kept_engines():
        yield


@pytest.fixture
def config(tmp_path: Path) -> Config:
    images = plant_images(tmp_path / "images")
    Image.open(images / "00.png").save(images / "00-again.png")
    return config_with(
        data__path=str(images), runtime__executor="local", ledger__path=str(tmp_path / "ledger"), privacy__spare_slots=1
    )


def looked(config: Config, out: Path) -> tuple[str, str]:
    """(the page, what the console showed)."""
    shown = io.StringIO()
    page = check_images(config, out, Console(file=shown, width=400))
    assert page == out / "internal" / "check.html"
    return page.read_text(), shown.getvalue()


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_the_page_names_files_and_is_for_the_owner_alone_and_nothing_of_it_is_printed(config, tmp_path):
    page, shown = looked(config, tmp_path / "run")
    assert page.index("Nothing that you see here may go into the configuration") < page.index("<h1>")
    assert "31 of 32 records can vote" in page
    assert "<h3>not an image: 1</h3>" in page and "<li>99.png</li>" in page
    assert "<h3>2 times</h3>" in page and "<li>00-again.png</li><li>00.png</li>" in page.replace("\n", "")
    assert "16 x 16" in page and "PNG, 8-bit colour" in page and page.count("data:image/jpeg") == 31
    internal = tmp_path / "run" / "internal"
    assert stat.S_IMODE(internal.stat().st_mode) == 0o700
    assert stat.S_IMODE((internal / "check.html").stat().st_mode) == 0o600
    assert not (internal / "survey").exists(), "what the shards wrote is on the page, and gone"
    told = shown.replace(str(tmp_path), "")  # pytest numbers its folders
    assert not any(word in told for word in (".png", "30", "31", "32", "not an image"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["internal"]


def test_gpus_of_shards_which_do_not_vote_here_are_not_asked_for(config, tmp_path, monkeypatch):
    monkeypatch.setattr("spti_ray.planning.checks.gpus_here", lambda: 0)
    runtime = config.runtime.model_copy(update={"shard": ShardConfig(num_gpus=0.5)})
    page, _ = looked(config.model_copy(update={"runtime": runtime}), tmp_path / "run")
    assert "31 of 32 records can vote" in page


def test_it_says_what_it_does_and_how_many_shards_are_done_and_no_number_of_records(config, tmp_path, monkeypatch):
    monkeypatch.setattr("spti_ray.observability.progress._PLAIN_EVERY_S", 0.01)
    monkeypatch.setattr("spti_ray.observability.progress._PLAIN_IDLE_S", 0.01)
    ready = ShardVoter.ready

    def slowly(voter: ShardVoter) -> None:
        for future in voter._preparing:
            future.result()
        time.sleep(0.2)
        ready(voter)

    monkeypatch.setattr(ShardVoter, "ready", slowly)
    _, shown = looked(config, tmp_path / "run")
    said = [line.partition(" ")[2] for line in shown.splitlines()]
    assert said[0] == "listing the private images" and said[-1] == "writing the page"
    assert "reading the private images, 2 of 2 shards are done" in said


def test_what_a_killed_check_left_half_written_is_removed_by_the_next_one_and_by_a_run(config, tmp_path):
    out = tmp_path / "run"
    for look in (lambda: looked(config, out), lambda: run(config, out)):
        views = out / "internal" / "views"
        views.mkdir(parents=True, exist_ok=True)
        for folder in (out, views, views.parent):
            (folder / ".tmp-left").write_bytes(b"PRIVATE")
        look()
        assert not list(out.rglob(".tmp-*"))


def test_the_run_in_its_folder_takes_the_views_and_tells_the_ledger_of_the_look(config, tmp_path):
    out = tmp_path / "run"
    _, shown = looked(config, out)
    assert "noted as a look" in shown and not Ledger(config.ledger.location, "toys").entries()
    made = digests(out / "internal" / "views")
    written = {file.name: file.stat().st_mtime_ns for file in (out / "internal" / "views").iterdir()}
    run(config, out)
    assert digests(out / "internal" / "views") == made
    assert {file.name: file.stat().st_mtime_ns for file in (out / "internal" / "views").iterdir()} == written
    entries = Ledger(config.ledger.location, "toys").entries()
    (past,) = history(entries)
    assert past.evaluated_by[0].startswith("spti check, ") and len(past.evaluated_by) == 1
    assert [entry.kind for entry in entries[:3]] == ["REGISTERED", "EVALUATED", "OPENED"]
    run(config, out)
    assert len(Ledger(config.ledger.location, "toys").entries()) == len(entries), "a look is told once"
    assert past.queries_charged == 2, "nothing was charged for it"


def test_settings_may_change_between_a_check_and_its_run(config, tmp_path):
    looked(config, tmp_path / "run")
    run(config.model_copy(update={"seed": 7}), tmp_path / "run")
    assert (tmp_path / "run" / "release" / "report.html").exists()


def test_a_look_at_a_registered_dataset_is_recorded_at_once_and_again_each_time(config, tmp_path):
    Ledger(config.ledger.location, "toys").register(8.0, 1e-5)
    _, shown = looked(config, tmp_path / "run")
    assert "recorded as a look at the private images in" in shown
    looked(config, tmp_path / "run")
    events = [entry.event for entry in Ledger(config.ledger.location, "toys").entries()[1:]]
    assert len(events) == 2 and len({event.run for event in events}) == 1
    assert all(event.metric.startswith("spti check, ") for event in events)
    assert events[0].run == json.loads((tmp_path / "run" / "internal" / "looks.json").read_text())["run"]


def test_an_endpoint_that_was_sent_the_images_is_told_with_the_look(config, tmp_path, monkeypatch):
    monkeypatch.setattr("spti_ray.check.command.engines_outside", lambda config: ("captioner m at https://host/v1",))
    looked(config, tmp_path / "run")
    (look,) = json.loads((tmp_path / "run" / "internal" / "looks.json").read_text())["looks"]
    assert look.endswith("Z; sent to captioner m at https://host/v1")


def test_a_dataset_that_only_an_administrator_registers_is_not_looked_at_before(config, tmp_path):
    required = config.model_copy(update={"dataset": config.dataset.model_copy(update={"registration": "required"})})
    with pytest.raises(NotRegistered):
        looked(required, tmp_path / "run")
    assert not (tmp_path / "run" / "internal" / "check.html").exists()


def test_records_of_which_none_can_vote_are_a_page_and_no_error(config, tmp_path):
    for path in Path(config.data.path).iterdir():
        path.write_bytes(b"no image")
    page, _ = looked(config, tmp_path / "run")
    assert "0 of 32 records can vote" in page


def test_where_reading_stops_is_told_to_the_owner_alone(config, tmp_path):
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "a.tar", "w") as tar:
        for number in range(3):
            tar.add(Path(config.data.path) / f"{number:02d}.png", f"patient-{number}.png")
    whole = (tmp_path / "tars" / "a.tar").read_bytes()
    (tmp_path / "tars" / "a.tar").write_bytes(whole[: whole.index(b"patient-2")] + b"no header" * 100)
    damaged = config.model_copy(update={"data": config.data.model_copy(update={"path": str(tmp_path / "tars")})})
    with pytest.raises(ShardFailed, match="what was read before that is in .*check.html") as caught:
        looked(damaged, tmp_path / "run")
    assert "patient" not in str(caught.value)
    page = (tmp_path / "run" / "internal" / "check.html").read_text()
    assert "The last record before that was <code>a.tar: patient-0</code>" in page and "1 of 1 records can vote" in page
    with pytest.raises(ShardFailed, match="spti check CONFIG --out DIR shows the data's owner where"):
        run(damaged, tmp_path / "another")


def test_a_method_without_votes_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="method random: no private image votes by it"):
        looked(config_with(method="random"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_else_is_refused(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no run"):
        looked(config, tmp_path / "run")


def test_held_out_records_are_on_the_page_and_another_share_than_the_ledgers_is_refused(config, tmp_path):
    held = config.model_copy(update={"data": config.data.model_copy(update={"holdout": 0.3})})
    page, _ = looked(held, tmp_path / "run")
    counts = [re.search(words, page) for words in (r"<h3>held out: (\d+)</h3>", r"<b>(\d+) of 32 records can vote")]
    held_out, voting = (int(found[1]) if found else 0 for found in counts)
    assert held_out and voting and held_out + voting + ("<h3>not an image: 1</h3>" in page) == 32
    run(held, tmp_path / "run")
    before = Ledger(config.ledger.location, "toys").entries()
    with pytest.raises(LedgerError, match=r"its runs hold out 0\.3"):
        looked(config, tmp_path / "another")
    assert Ledger(config.ledger.location, "toys").entries() == before
