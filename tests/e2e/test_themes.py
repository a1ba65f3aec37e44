"""A run whose first generation is voted on in themes: what it leaves, and what goes on from it."""

from __future__ import annotations

import html
import json

import pyarrow.parquet as pq
import pytest

from spti_ray.dp.artifact import complete, read
from tests.e2e.conftest import LOCAL, Cli
from tests.e2e.test_methods import _ok

SETTINGS = ("evolution.generations=2", "evolution.themes=[6]", "prompts.hold_subject=true")
MORE = tuple(f"--set={setting}" for setting in LOCAL)


@pytest.fixture(scope="module")
def themed(tmp_path_factory):
    cli = Cli(tmp_path_factory.mktemp("themed"))
    said = _ok(cli(*cli.run_arguments("run", *SETTINGS))).stdout
    return cli, cli.folder / "run", said


def _asked(run, generation: int) -> int:
    (path,) = complete(run / "generations", generation)
    return len(read(path)[1].candidate_ids)


def test_the_first_question_is_about_themes_and_the_next_about_candidates(themed):
    _, run, _ = themed
    themes = pq.read_table(run / "generations" / "00" / "themes.parquet").to_pylist()
    candidates = [
        pq.read_table(run / "generations" / f"{t:02d}" / "candidates.parquet")["id"].to_pylist() for t in (0, 1)
    ]
    members = [member for theme in themes for member in theme["members"]]
    assert _asked(run, 0) == len(themes) <= 6 and _asked(run, 1) == len(candidates[1])
    assert sorted(members) == sorted(candidates[0])
    assert not (run / "generations" / "01" / "themes.parquet").exists()
    kinds = pq.read_table(run / "generations" / "01" / "kin.parquet").to_pylist()
    assert sorted(member for kind in kinds for member in kind["members"]) == sorted(candidates[1])


def test_each_question_is_one_charge_at_the_sigma_of_the_run(themed):
    cli, run, _ = themed
    entries = [json.loads(line) for line in (cli.folder / "ledger" / "stickers.jsonl").read_text().splitlines()]
    reserved = [entry for entry in entries if entry["kind"] == "RESERVED"]
    assert [entry["generation"] for entry in reserved] == [0, 1] and len({entry["sigma"] for entry in reserved}) == 1
    assert [entry["num_candidates"] for entry in reserved] == [_asked(run, 0), _asked(run, 1)]
    assert " checks hold" in _ok(cli("verify", "run")).stdout


def test_the_report_says_what_was_asked(themed):
    _, run, _ = themed
    page = (run / "release" / "report.html").read_text()
    assert f"{_asked(run, 0)} themes of" in page and "shown by the nearest of each" in page


def test_a_run_that_was_killed_between_its_questions_does_not_ask_the_first_again(themed, tmp_path):
    _, run, _ = themed
    cli = Cli(tmp_path)
    arguments = cli.run_arguments("run", *SETTINGS)
    cli.kill_when(arguments, (cli.folder / "run" / "generations" / "00" / "selected.parquet").exists)
    assert not (cli.folder / "run" / "release").exists()
    _ok(cli(*arguments))
    # Its noise is its own; what it asked first was asked once.
    (first,) = complete(cli.folder / "run" / "generations", 0)
    assert read(first)[0].slot == 0
    before, after = (
        pq.read_table(folder / "generations" / "00" / "themes.parquet") for folder in (run, cli.folder / "run")
    )
    assert before.equals(after)


def test_the_report_says_how_many_texts_nobody_wrote_about_their_subject(themed):
    _, run, said = themed
    (line,) = [line for line in said.splitlines() if "are fallbacks" in line]
    page = " ".join(html.unescape((run / "release" / "report.html").read_text()).split())
    assert line.partition("texts: ")[2].strip() in page
    timings = json.loads((run / "internal" / "timings.json").read_text())
    assert timings["stages"]["text_embedder"]["units"] > 0, "votes are by images: it compares texts alone"


def test_the_datasheet_says_what_the_votes_were_for(themed):
    _, run, _ = themed
    sheet = " ".join((run / "release" / "datasheet.md").read_text().split())
    assert (
        "votes for 1 theme(s) or candidate(s). A theme is a group of similar candidates; there are 6 in this gen"
        in sheet
    )
    assert "later ones are voted on candidate by candidate. 3. The votes" in sheet
    assert "Each theme has a part of the next candidates that is proportional to its noised votes" in sheet


def test_more_generations_go_on_candidate_by_candidate(themed):
    cli, _, _ = themed
    _ok(cli("refine", "run", "--out", "more", "--generations", "1", *MORE))
    assert _asked(cli.folder / "more", 2) == len(
        pq.read_table(cli.folder / "more" / "generations" / "02" / "candidates.parquet")
    )
