"""No charge is orphaned: a ledger that a run would leave out is found before the run starts."""

import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from spti_ray.config import Config
from spti_ray.config.identity import resolved
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.dp.ledger import Ledger, NotRegistered
from spti_ray.driver.driver import run_config
from spti_ray.errors import BUDGET, exit_code, one_line
from spti_ray.planning.plan import plan_summary
from spti_ray.planning.plan_text import plan_lines
from spti_ray.runs.folder import RunDir
from spti_ray.runs.ledger_check import LedgerElsewhere, check_ledger, keep_ledger, place_of
from spti_ray.runs.looks import CHECK_FILES
from spti_ray.runs.refinement import refined
from spti_ray.runs.run_file import read_run
from tests.unit.conftest import BASE
from tests.unit.dp.plans import PLAN

OLD = Path(__file__).parents[2] / "old_runs" / "ab5e8e4"


def config_in(folder: Path, ledger: str = "books", **changes: object) -> Config:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my.yaml").write_text(yaml.safe_dump({**BASE, "ledger": {"path": ledger}, **changes}))
    return load_config(folder / "my.yaml")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to be in, beside that of the configuration."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def stored_run(out: Path, config: Config, run: str = "run", **ledger: object) -> Path:
    out.mkdir(parents=True)
    document = {"run": run, "config": resolved(config) | ({"ledger": ledger} if ledger else {})}
    (out / "run.yaml").write_text(yaml.safe_dump(document))
    return out


def charge(folder: Path, run: str = "run") -> Ledger:
    ledger = Ledger(folder, "toys")
    ledger.register(9.0, 1e-5)
    ledger.open_run(run, PLAN, "c", "n", True).reserve(0, "ab", 2, "v")
    return ledger


def test_charges_where_an_earlier_build_kept_them_refuse_run_and_plan_with_both_places(tmp_path, here):
    config = config_in(tmp_path / "configs")
    check_ledger(config)
    charge(here / "books")
    for refused in (lambda: check_ledger(config, tmp_path / "out"), lambda: plan_summary(config)):
        with pytest.raises(LedgerElsewhere) as error:
            refused()
        assert exit_code(error.value) == BUDGET == 3
        line = one_line(error.value)
        assert f"{tmp_path}/configs/books/toys.jsonl" in line and f"{here}/books/toys.jsonl" in line
        assert f"set ledger.path: {here}/books" in line and "\n" not in line
    check_ledger(config_in(tmp_path / "configs", f"{here}/books"))
    shutil.move(here / "books", tmp_path / "configs" / "books")
    check_ledger(config)


def test_a_registration_without_charges_is_found_too_and_another_data_set_is_not_meant(tmp_path, here):
    config = config_in(tmp_path / "configs")
    Ledger(here / "books", "others").register(9.0, 1e-5)
    check_ledger(config)
    Ledger(here / "books", "toys").register(9.0, 1e-5)
    with pytest.raises(LedgerElsewhere):
        check_ledger(config)


def test_a_copy_whose_charges_are_all_in_the_ledger_orphans_none(tmp_path, here):
    config = config_in(tmp_path / "configs")
    charge(here / "books")
    shutil.copytree(here / "books", tmp_path / "configs" / "books")
    check_ledger(config)
    charge(tmp_path / "configs" / "books", "another")
    check_ledger(config)
    charge(here / "books", "a third")
    with pytest.raises(LedgerElsewhere, match="no budget holds for both"):
        check_ledger(config)


def test_an_earlier_ledger_that_can_not_be_read_is_taken_to_hold_charges(tmp_path, here):
    config = config_in(tmp_path / "configs")
    (here / "books").mkdir()
    (here / "books" / "toys.jsonl").write_text("not a ledger\nat all\n")
    with pytest.raises(LedgerElsewhere):
        check_ledger(config)


def test_what_uses_no_private_data_has_no_ledger_to_look_for(tmp_path, here):
    charge(here / "books")
    config = config_in(tmp_path / "configs", method="random")
    check_ledger(config)
    assert plan_summary(config)["ledger"] is None


def test_the_bundled_configurations_find_what_they_kept_in_runs(here):
    config = load_config(Path("bundled:stickers"), ["dataset.id=toys"])
    check_ledger(config)
    charge(here / "runs" / "ledger")
    with pytest.raises(LedgerElsewhere, match=f"{here}/runs/ledger/toys.jsonl"):
        check_ledger(config)


def test_a_run_goes_on_with_the_ledger_it_was_started_with_or_not_at_all(tmp_path, here):
    config = config_in(tmp_path / "configs")
    out = stored_run(tmp_path / "out", config)
    charge(tmp_path / "configs" / "books")
    check_ledger(config, out)
    moved = config_in(tmp_path / "moved")
    with pytest.raises(LedgerElsewhere) as error:
        check_ledger(moved, out)
    for place in (out, f"{tmp_path}/configs/books/toys.jsonl", f"{tmp_path}/moved/books/toys.jsonl"):
        assert str(place) in str(error.value)
    # Moved with its configuration, as a whole: the same ledger in another place.
    shutil.move(tmp_path / "configs" / "books", tmp_path / "moved" / "books")
    check_ledger(moved, out)


def test_a_ledger_that_lacks_what_was_charged_since_it_was_copied_is_not_gone_on_with(tmp_path, here):
    config = config_in(tmp_path / "configs")
    out = stored_run(tmp_path / "out", config)
    charge(tmp_path / "configs" / "books")
    shutil.copytree(tmp_path / "configs", tmp_path / "copy")
    check_ledger(config_in(tmp_path / "copy"), out)
    charge(tmp_path / "configs" / "books", "another")
    with pytest.raises(LedgerElsewhere):
        check_ledger(config_in(tmp_path / "copy"), out)


def test_a_run_of_an_earlier_build_goes_on_where_it_was_started_and_with_its_ledger_by_name(
    tmp_path, here, monkeypatch
):
    config = config_in(tmp_path / "configs", "../here/books")
    out = stored_run(tmp_path / "out", config, path="books")
    charge(here / "books")
    check_ledger(config, out)
    elsewhere = config_in(tmp_path / "elsewhere")
    with pytest.raises(LedgerElsewhere):
        check_ledger(elsewhere, out)
    monkeypatch.chdir(tmp_path)
    check_ledger(config_in(tmp_path / "configs", f"{here}/books"), out)
    with pytest.raises(LedgerElsewhere):
        check_ledger(elsewhere, out)


def test_the_ledger_is_shown_in_full_by_plan(tmp_path, here):
    config = config_in(tmp_path / "configs")
    assert f"ledger      {tmp_path}/configs/books/toys.jsonl" in plan_lines(plan_summary(config))
    assert place_of(config_in(tmp_path / "configs", "s3://bucket/books")) == "s3://bucket/books/toys"
    not_private = config_in(tmp_path / "configs", privacy={"epsilon": "inf", "delta": 1e-5, "allow_not_private": True})
    assert f"ledger      {tmp_path}/configs/books/toys.jsonl" in plan_lines(plan_summary(not_private))


def failed_start(tmp_path: Path) -> Path:
    """A run folder whose first start had a file for its folder of ledgers."""
    mistyped = config_in(tmp_path / "configs", "my.yaml")
    out = tmp_path / "out"
    check_ledger(mistyped, out)
    RunDir.open(out, mistyped).unlock()
    (out / "internal" / "driver.log").write_text("can't open ledger\n")
    return out


@pytest.mark.parametrize("checked", [False, True])
def test_a_first_start_that_failed_by_its_ledger_goes_on_with_another_which_is_stored(tmp_path, here, checked):
    out = failed_start(tmp_path)
    for name in CHECK_FILES if checked else ():
        (out / "internal" / name).write_text('{"run": "r", "looks": []}')
    before = yaml.safe_load((out / "run.yaml").read_text())
    config = config_in(tmp_path / "configs")
    check_ledger(config, out)
    run = RunDir.open(out, config)
    keep_ledger(config, run)
    run.unlock()
    after = yaml.safe_load((out / "run.yaml").read_text())
    assert after["config"].pop("ledger") == resolved(config)["ledger"] != before["config"].pop("ledger")
    assert after == before
    # From now on that one is the run's.
    charge(tmp_path / "configs" / "books", str(after["run"]))
    check_ledger(config, out)
    with pytest.raises(LedgerElsewhere):
        check_ledger(config_in(tmp_path / "configs", "others"), out)


@pytest.mark.parametrize(
    "made",
    ["generations/00/candidates.parquet", "release/report.html", "internal/generations/00/x", "internal/finetune/x"],
)
def test_a_run_that_made_anything_is_not_taken_for_a_failed_start(tmp_path, here, made):
    out = failed_start(tmp_path)
    (out / made).parent.mkdir(parents=True)
    (out / made).touch()
    with pytest.raises(LedgerElsewhere):
        check_ledger(config_in(tmp_path / "configs"), out)


@pytest.mark.parametrize("books", ["not a ledger\nat all\n", None], ids=["damaged", "knows the run"])
def test_a_first_ledger_that_knows_the_run_or_can_not_be_read_is_kept(tmp_path, here, books):
    config = config_in(tmp_path / "configs")
    out = stored_run(tmp_path / "out", config)
    if books is None:
        charge(tmp_path / "configs" / "books")
    else:
        (tmp_path / "configs" / "books").mkdir()
        (tmp_path / "configs" / "books" / "toys.jsonl").write_text(books)
    with pytest.raises(LedgerElsewhere):
        check_ledger(config_in(tmp_path / "configs", "others"), out)


def test_a_charge_that_was_made_since_the_first_look_is_seen_under_the_lock(tmp_path, here):
    out, config = failed_start(tmp_path), config_in(tmp_path / "configs")
    check_ledger(config, out)
    run = RunDir.open(out, config)
    (out / "generations").mkdir()
    with pytest.raises(LedgerElsewhere):
        keep_ledger(config, run)
    run.unlock()


def test_the_driver_stores_the_ledger_before_it_asks_it(tmp_path, here):
    out, config = (
        failed_start(tmp_path),
        config_in(tmp_path / "configs", dataset={"id": "toys", "registration": "required"}),
    )
    with pytest.raises(NotRegistered):
        run_config(config, out, Console(quiet=True))
    assert read_run(out)["config"]["ledger"] == resolved(config)["ledger"]


def test_a_refinement_from_where_the_ledger_is_not_leaves_no_folder(tmp_path, here):
    shutil.copytree(OLD, tmp_path / "project")
    with pytest.raises(ConfigError, match="does not know run"):
        run_config(refined(tmp_path / "project" / "finished", images=5), tmp_path / "new", Console(quiet=True))
    assert not (tmp_path / "new").exists()
