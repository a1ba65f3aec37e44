"""One configuration has one ledger, from whichever folder it is used."""

import os
from importlib import resources
from pathlib import Path

import pytest
import yaml

from spti_ray.api import _settings
from spti_ray.config import LedgerConfig
from spti_ray.config.identity import config_sha256, resolved
from spti_ray.config.ledger_location import earlier_locations, location_of, same_ledger
from spti_ray.config.loading import ConfigError, load_config, parse_config
from spti_ray.runs.ledger_check import check_ledger
from tests.test_imports import modules
from tests.unit.config.test_config import MINIMAL

ROOT = Path(__file__).parents[3]


def written(folder: Path, ledger: str | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    section = {} if ledger is None else {"ledger": {"path": ledger}}
    (folder / "my.yaml").write_text(yaml.safe_dump(MINIMAL | section))
    return folder / "my.yaml"


@pytest.mark.parametrize("ledger", [None, "ledger", "../books", "a/./b/../c"])
def test_a_relative_ledger_is_in_the_folder_of_the_configuration_wherever_one_is(tmp_path, monkeypatch, ledger):
    file = written(tmp_path / "configs", ledger)
    (tmp_path / "link.yaml").symlink_to(file)
    found = set()
    for folder, name in ((tmp_path, file), (tmp_path / "configs", Path("my.yaml")), (tmp_path, Path("link.yaml"))):
        monkeypatch.chdir(folder)
        found.add(load_config(name).ledger.location)
        found.add(load_config(name, [f"ledger.path={ledger or 'ledger'}"]).ledger.location)
    assert found == {str((tmp_path / "configs" / (ledger or "ledger")).resolve())}


def test_what_says_itself_where_it_is_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    wanted = {"/books": "/books", "s3://bucket/books/": "s3://bucket/books", "~/books": f"{tmp_path}/me/books"}
    for ledger, location in wanted.items():
        section = load_config(written(tmp_path, ledger)).ledger
        assert (section.location, section.path, section.relative_to) == (location, ledger, None)


def test_bundled_configurations_and_mappings_have_theirs_in_the_folder_of_the_user(tmp_path, monkeypatch, user_data):
    for folder in (tmp_path, ROOT):
        monkeypatch.chdir(folder)
        for config in (
            load_config(Path("bundled:stickers")),
            _settings(MINIMAL, ()),
            _settings(parse_config(MINIMAL), ()),
        ):
            assert config.ledger.location == f"{user_data}/spti-ray/ledger"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _settings(MINIMAL, ()).ledger.location == f"{tmp_path}/.local/share/spti-ray/ledger"


def test_without_a_home_it_is_told_in_one_line_and_only_where_one_is_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(ConfigError, match=r"^ledger\.path: there is no home folder .*absolute path or a bucket$"):
        load_config(Path("bundled:stickers"))
    assert load_config(Path("bundled:stickers"), ["ledger.path=/books"]).ledger.location == "/books"
    check_ledger(load_config(written(tmp_path, None)))


def test_a_stored_configuration_finds_its_ledger_from_anywhere_and_one_of_an_earlier_build_from_its_folder(
    tmp_path, monkeypatch
):
    config = load_config(written(tmp_path / "configs", "books"))
    stored = yaml.safe_load(yaml.safe_dump(resolved(config)))
    monkeypatch.chdir(tmp_path)
    assert parse_config(stored).ledger.location == f"{tmp_path}/configs/books"
    del stored["ledger"]["relative_to"]
    assert parse_config(stored).ledger.location == f"{tmp_path}/books"


def test_the_hash_of_a_configuration_does_not_depend_on_the_machine(tmp_path):
    """Or a run by its default name, and a job that is joined, would be others elsewhere."""
    hashes = {config_sha256(load_config(written(tmp_path / folder, "books"))) for folder in ("a", "b")}
    assert hashes == {config_sha256(parse_config(MINIMAL | {"ledger": {"path": "books"}}))}


def test_a_folder_that_is_no_absolute_path_is_refused():
    with pytest.raises(ConfigError, match=r"ledger\.relative_to: is no absolute path"):
        parse_config(MINIMAL | {"ledger": {"relative_to": "configs"}})


@pytest.mark.parametrize(
    ("path", "relative_to", "earlier"),
    [
        ("books", "/configs", {"books"}),
        ("../books", "/configs", {"../books"}),
        ("~/books", None, {"~/books"}),
        ("ledger", "/configs", {"ledger"}),
        ("ledger", "USER", {"ledger", "runs/ledger"}),  # as the bundled ones said
        ("../runs/ledger", "/jobs", {"../runs/ledger", "runs/ledger"}),  # as those in jobs/ said
        ("/runs/ledger", None, {"runs/ledger"}),
        ("/books", None, set()),
        ("s3://bucket/books", None, set()),
    ],
)
def test_an_earlier_build_looked_from_the_current_folder(tmp_path, monkeypatch, user_data, path, relative_to, earlier):
    monkeypatch.chdir(tmp_path)
    folder = f"{user_data}/spti-ray" if relative_to == "USER" else relative_to
    assert set(earlier_locations(path, folder)) == {os.path.normpath(tmp_path / name) for name in earlier}


def test_a_place_that_is_the_same_by_both_rules_is_no_earlier_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert earlier_locations("books", str(tmp_path)) == ()
    (tmp_path / "jobs").mkdir()
    assert earlier_locations("../runs/ledger", str(tmp_path / "jobs")) == (
        str((tmp_path / "../runs/ledger").resolve()),
    )


def test_ledgers_of_two_configurations_are_compared_each_by_the_rule_of_its_build(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = {"path": "../books", "relative_to": f"{tmp_path}/configs"}
    assert same_ledger({"path": "books"}, now), "an earlier build, started from here"
    assert same_ledger(now, {"path": f"{tmp_path}/books", "relative_to": None})
    assert same_ledger({}, {"path": "ledger", "relative_to": str(tmp_path)})
    assert not same_ledger({"path": "books", "relative_to": "/elsewhere"}, now)
    assert not same_ledger({"path": "s3://bucket/books"}, now)
    monkeypatch.chdir("/")
    assert not same_ledger({"path": "books"}, now)


def test_nobody_reads_a_ledgers_path_but_those_who_judge_how_it_is_written():
    """All others take `location`; a path without its folder is found from one folder alone."""
    readers = {name for name, file in modules().items() if "ledger.path" in _code(file)}
    assert readers == {"spti_ray.config.job_paths", "spti_ray.kubernetes.checks"}
    assert LedgerConfig(path="x", relative_to="/a").location == location_of("x", "/a") == "/a/x"


def _code(file: Path) -> str:
    import ast

    return " ".join(
        ast.unparse(node) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)
    )


def test_the_demos_configurations_are_the_bundled_ones_but_for_their_ledger():
    bundled = Path(str(resources.files("spti_ray"))) / "package_data" / "configs"
    names = sorted(file.name for file in bundled.glob("*.yaml"))
    assert len(names) == 3
    for name in names:
        ours, theirs = (file.read_text().splitlines() for file in (ROOT / "jobs" / name, bundled / name))
        differ = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
        assert len(differ) == 1 and all(line.startswith("  path: ") for line in differ[0])
        assert load_config(ROOT / "jobs" / name).ledger.location == str(ROOT / "runs" / "ledger")
