"""`spti audit --contamination` by the command line, on finished runs of local processes with fake engines. SIMULATED.

One run has an honest renderer, one a planted renderer that memorised ten of the records.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from spti_ray.cli import app
from spti_ray.config import DataConfig
from spti_ray.dp.history import history
from spti_ray.dp.ledger import Ledger
from spti_ray.private.dataset import load_shard
from spti_ray.runtime.local.engines import kept_engines
from tests.unit.conftest import BASE
from tests.unit.evaluate.conftest import ColourJudge

RECORDS, KNOWN = 420, 10


def spti(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Records, of which three in ten are held out; an honest run on them, one of captions, and a planted one."""
    folder = tmp_path_factory.mktemp("contamination")
    (folder / "data").mkdir()
    rng = np.random.default_rng(5)
    for number in range(RECORDS):
        quarters = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
        Image.fromarray(quarters.repeat(8, 0).repeat(8, 1)).save(folder / "data" / f"record-{number:03d}.png")
    records = load_shard(DataConfig(path=str(folder / "data"), holdout=0.3), "record", 0, 1, ("all",))
    (folder / "known").mkdir()
    for record in [record for record in records if record.image is not None][:KNOWN]:
        shutil.copy(folder / "data" / record.name, folder / "known")
    settings: dict[str, Any] = BASE | {
        "data": {"path": str(folder / "data"), "holdout": 0.3},
        "ledger": {"path": str(folder / "ledger")},
        "evolution": {"generations": 1, "candidates": 40},
        "release": {"images": 60, "images_per_text": 3},
        "runtime": {"engines": "fake", "executor": "local"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    fakes = {
        role: {"kind": f"fake-{role.replace('_', '-')}", "model": "SIMULATED"}
        for role in ("writer", "captioner", "image_embedder", "text_embedder")
    }
    planted = {"kind": "tests.planted_renderers:Memorised", "model": str(folder / "known")}
    engines = {"engines": fakes | {"renderer": planted}, "executor": "local"}
    (folder / "planted.yaml").write_text(yaml.safe_dump(settings | {"runtime": engines}))
    with kept_engines():
        spti("run", str(folder / "run.yaml"), "--out", str(folder / "honest"))
        spti("run", str(folder / "planted.yaml"), "--out", str(folder / "planted"))
        not_private = ("--set", "method=captions", "--set", "privacy.allow_not_private=true")
        spti("run", str(folder / "planted.yaml"), "--out", str(folder / "captions"), *not_private)
    return folder


@pytest.fixture(autouse=True)
def judges(monkeypatch):
    from spti_ray.models import judges

    monkeypatch.setattr(judges, "open_judge", lambda name, gpu: ColourJudge())


def audited(place: Path, run: str, *options: str) -> tuple[dict[str, Any], Result]:
    """(the figures by set, what the console showed)."""
    done = spti("audit", "--contamination", str(place / run), *options)
    document = json.loads((place / run / "internal" / "contamination.json").read_text())
    return document | {"by_set": {found["name"]: found for found in document["sets"]}}, done


def flagged(found: dict[str, Any]) -> list[bool]:
    return [copies["flagged"] for copies in found["copies"]]


def test_a_renderer_that_memorised_records_is_flagged_in_every_set_of_images(place):
    document, _ = audited(place, "planted", "--captions", str(place / "captions"))
    assert list(document["by_set"]) == ["release", "generation 0", "renders of captions"]
    for name, found in document["by_set"].items():
        voted, held_out = found["copies"]
        assert voted["flagged"] and 1 <= voted["at_least"] <= KNOWN and voted["p_value"] < 0.05, name
        assert not held_out["flagged"], "it knows none of those"
    assert document["by_set"]["generation 0"]["membership"]["most_auc"] is None
    assert 0.5 < document["by_set"]["release"]["membership"]["most_auc"] < 1


def test_an_honest_renderer_is_not(place):
    document, _ = audited(place, "honest")
    assert [flagged(found) for found in document["sets"]] == [[False, False], [False, False]]
    assert document["not_made"].keys() == {"renders of captions"}
    membership = document["by_set"]["generation 0"]["membership"]
    assert membership["p_value"] > 0.001, "a control: a hash divided the records"


def test_the_page_is_the_owners_and_the_console_says_where_it_is_alone(place):
    _, done = audited(place, "planted")
    internal = place / "planted" / "internal"
    for name in ("contamination.html", "contamination.json"):
        assert stat.S_IMODE((internal / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(internal.stat().st_mode) == 0o700
    page = (internal / "contamination.html").read_text()
    assert page.index("Internal: not differentially private") < page.index("<h1>")
    assert "FLAGGED: at least" in page and "<b>counted</b>" in page and page.count("data:image/jpeg") > 40
    assert done.stdout == f"for the owner only: {internal / 'contamination.html'}\n"
    told = done.stderr.replace(str(place), "").replace("100%", "")
    assert not re.search(r"\d", re.sub(r"bundled:[\w-]+|toys\.jsonl", "", told)), told
    assert not any(word in told for word in ("FLAGGED", "record-", "copied"))


def test_the_look_is_recorded_and_nothing_is_charged(place):
    book = Ledger(place / "ledger", "toys")
    before = history(book.entries())
    audited(place, "honest")
    after = history(book.entries())
    assert [past.queries_charged for past in after] == [past.queries_charged for past in before]
    (run,) = [past for past in after if past.run == yaml.safe_load((place / "honest" / "run.yaml").read_text())["run"]]
    assert run.evaluated_by[-1].startswith("spti audit --contamination, judged by ")


def test_held_out_records_never_voted_and_were_never_captioned(place):
    problems = json.loads((place / "honest" / "internal" / "problems.json").read_text())
    assert problems.keys() == {"held out"} and 90 < problems["held out"] < 160
    captions = json.loads((place / "captions" / "internal" / "problems.json").read_text())
    assert captions["held out"] == problems["held out"]
    certificate = json.loads((place / "honest" / "release" / "privacy.json").read_text())
    assert certificate["held_out"]["share"] == 0.3
    spti("verify", str(place / "honest"))


def test_records_of_another_folder_may_be_the_held_out_ones(place, tmp_path):
    (tmp_path / "others").mkdir()
    rng = np.random.default_rng(6)
    for number in range(120):
        quarters = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
        Image.fromarray(quarters.repeat(8, 0).repeat(8, 1)).save(tmp_path / "others" / f"{number}.png")
    document, _ = audited(place, "planted", "--holdout", str(tmp_path / "others"))
    release = document["by_set"]["release"]
    assert release["copies"][0]["flagged"] and release["copies"][0]["compared_with"] == 120
    assert release["membership"]["most_auc"] is None and "two collections" in release["membership"]["shows"]
    same = spti("audit", "--contamination", str(place / "planted"), "--holdout", str(place / "data"), code=1)
    assert "--holdout: some of its records are among those that voted" in same.stderr


def changed(place: Path, run: str, tmp_path: Path, edit) -> Path:
    copy = shutil.copytree(place / run, tmp_path / "changed")
    stored = yaml.safe_load((copy / "run.yaml").read_text())
    edit(stored["config"])
    (copy / "run.yaml").write_text(yaml.safe_dump(stored))
    return copy


def test_bad_input_is_one_line_and_no_look(place, tmp_path):
    ledger = place / "ledger" / "toys.jsonl"
    before = ledger.read_bytes()
    honest = str(place / "honest")
    unfinished = shutil.copytree(place / "honest", tmp_path / "unfinished")
    (unfinished / "release" / "report.html").unlink()
    none = changed(place, "honest", tmp_path, lambda config: config["data"].pop("holdout"))
    other = changed(place, "honest", tmp_path / "2", lambda config: config["data"].update(holdout=0.2))
    for arguments, code, words in (
        (("--contamination",), 2, "needs DIR"),
        (("--contamination", str(tmp_path / "nowhere")), 2, "there is no such folder"),
        (("--contamination", str(unfinished)), 2, "is not finished"),
        (("--contamination", str(none)), 2, "all records voted (data.holdout is 0); give records that never did"),
        (("--contamination", str(other)), 2, "its runs hold out 0.3 of the units record"),
        (("--contamination", honest, "--holdout", "/no/such"), 2, "--holdout: '/no/such' does not exist"),
        (("--contamination", honest, "--captions", honest), 2, "a run of method spti; name one of captions"),
        (("--contamination", honest, "--captions", str(tmp_path)), 2, "holds no run"),
        ((honest, "--captions", honest), 2, "--captions is of --contamination"),
    ):
        done = spti("audit", *arguments, code=code)
        assert words in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)
    assert ledger.read_bytes() == before


def test_a_judge_that_is_not_there_leaves_no_look(place):
    before = (place / "ledger" / "toys.jsonl").read_bytes()
    done = spti("audit", "--contamination", str(place / "honest"), "--judge", "./nope", code=2)
    assert "--judge ./nope: model folder './nope' does not exist" in done.stderr and done.stderr.count("\n") == 1
    assert (place / "ledger" / "toys.jsonl").read_bytes() == before


def test_too_few_held_out_records_are_one_line_that_says_how_many_it_takes(place, tmp_path):
    (tmp_path / "few").mkdir()
    for number in range(50):
        Image.new("RGB", (16, 16), (number, 0, 200)).save(tmp_path / "few" / f"{number}.png")
    done = spti("audit", "--contamination", str(place / "honest"), "--holdout", str(tmp_path / "few"), code=1)
    assert done.stderr.splitlines()[-1].startswith("spti: an audit needs at least 99 usable records that never voted")
    assert "50" not in done.stderr


def test_another_holdout_on_the_dataset_is_refused_before_a_charge(place, tmp_path):
    before = Ledger(place / "ledger", "toys").entries()
    arguments = ("run", str(place / "run.yaml"), "--out", str(tmp_path / "run"), "--set", "data.holdout=0.2")
    assert "its runs hold out 0.3" in spti(*arguments, code=2).stderr
    plan = ("plan", str(place / "run.yaml"), "--set", "data.holdout=0.2")
    assert "its runs hold out 0.3" in spti(*plan, code=2).stderr
    assert Ledger(place / "ledger", "toys").entries() == before
