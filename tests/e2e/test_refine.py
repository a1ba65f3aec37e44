"""`spti refine`: what a finished run is the start of, and what it costs."""

from __future__ import annotations

import hashlib
import json
import shutil

import pyarrow.parquet as pq
import pytest

from spti_ray.dp.file_chain import verify
from tests.e2e.conftest import LOCAL, Cli
from tests.e2e.test_methods import _ok

INVERTING = """from spti_ray.models import fakes

class Renderer(fakes.FakeRenderer):
    def identity(self):
        return super().identity() | {"model": "SIMULATED-OTHER"}

    def render(self, texts, seeds):
        return [255 - image for image in super().render(texts, seeds)]
"""


ON_ONE_PROCESS = tuple(f"--set={setting}" for setting in LOCAL)


def rows_of(run):
    return pq.read_table(run / "release" / "manifest.parquet").to_pylist()


@pytest.fixture(scope="module")
def more(finished):
    """The finished run with three times its images."""
    before = finished.ledger.read_bytes()
    done = _ok(finished.cli("refine", "run", "--out", "more", "--images", "48", *ON_ONE_PROCESS))
    assert finished.ledger.read_bytes() == before, "nothing is charged, nor even recorded"
    return finished.cli.folder / "more", done.stdout


def test_more_images_cost_nothing_and_say_so(finished, more):
    out, said = more
    assert "nothing is charged" in said and "Post-processing" in said
    before, after = rows_of(finished.out), rows_of(out)
    assert len(before) == 16 and len(after) == 48
    known = {(row["candidate_id"], row["variant"]): row["sha256"] for row in after}
    # Every image that was released is among them, byte for byte.
    assert all(known[row["candidate_id"], row["variant"]] == row["sha256"] for row in before)
    # The texts are the survivors of the last generation, some of which had no image before.
    survivors = pq.read_table(finished.out / "generations" / "02" / "selected.parquet")["id"].to_pylist()
    assert {row["candidate_id"] for row in before} <= {row["candidate_id"] for row in after} <= set(survivors)
    assert not (out / "generations").exists() and not list((out / "internal").glob("views*"))
    assert {"writer_model", "renderer_model", "image_embedder_model"} <= set(after[0]), "who made the texts is told"


def test_a_rerendering_has_the_certificate_of_its_run_and_says_so(finished, more):
    out, _ = more
    theirs, ours = (json.loads((run / "release" / "privacy.json").read_text()) for run in (finished.out, out))
    run = theirs["run"]["id"]
    assert ours["release"]["rerendering_of"] == ours["run"]["id"] == run
    assert {**ours, "release": 0, "ledger": 0} == {**theirs, "release": 0, "ledger": 0}
    assert f"A re-rendering of run {run}" in (out / "release" / "datasheet.md").read_text()
    page = (out / "release" / "report.html").read_text()
    assert f"A re-rendering of run <code>{run}</code>" in page and str(finished.cli.folder) not in page
    assert " checks hold" in _ok(finished.cli("verify", "more")).stdout
    assert f"a re-rendering of run {run}" in _ok(finished.cli("status", "more")).stdout
    assert (
        "Nothing to do" in _ok(finished.cli("refine", "run", "--out", "more", "--images", "48", *ON_ONE_PROCESS)).stdout
    )


def test_a_rerendering_under_the_certificate_of_another_run_is_caught(finished, more, tmp_path):
    out, _ = more
    shutil.copytree(out / "release", tmp_path / "forged")
    path = tmp_path / "forged" / "manifest.parquet"
    table = pq.read_table(path)
    table = table.replace_schema_metadata({**table.schema.metadata, b"spti_ray.rerendering_of": b"another"})
    pq.write_table(table, path)
    certificate = json.loads((tmp_path / "forged" / "privacy.json").read_text())
    certificate["release"] |= {
        "rerendering_of": "another",
        "manifest_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    (tmp_path / "forged" / "privacy.json").write_text(json.dumps(certificate))
    done = finished.cli("verify", str(tmp_path / "forged"), "--ledger", "ledger", "--quiet")
    assert done.returncode == 1 and "FAIL run.id of a re-rendering" in done.stdout


def test_another_renderer_renders_all_of_it_anew_and_is_named(finished):
    (finished.cli.folder / "inverting.py").write_text(INVERTING)
    other = "--set=runtime.engines.renderer.kind=inverting:Renderer"
    _ok(finished.cli("refine", "run", "--out", "other", other, *ON_ONE_PROCESS))
    rows = rows_of(finished.cli.folder / "other")
    assert {row["renderer_model"] for row in rows} == {"SIMULATED-OTHER"} and len(rows) == 16
    assert not {row["sha256"] for row in rows} & {row["sha256"] for row in rows_of(finished.out)}
    assert "rendered anew" in (finished.cli.folder / "other" / "internal" / "driver.log").read_text()
    assert "taken as they are" not in (finished.cli.folder / "other" / "internal" / "driver.log").read_text()
    assert " checks hold" in _ok(finished.cli("verify", "other")).stdout
    assert len([entry for entry in verify(finished.ledger) if entry.kind == "OPENED"]) == 1


def test_a_killed_rerendering_goes_on_with_the_images_that_it_has(finished, more):
    out, _ = more
    cut = finished.cli.folder / "cut"
    shutil.copytree(out, cut)
    (cut / "release").rename(cut / "release.partial")
    for file in ("manifest.parquet", "privacy.json", "report.html", "images/00047.png"):
        (cut / "release.partial" / file).unlink()
    _ok(finished.cli("refine", "run", "--out", "cut", "--images", "48", *ON_ONE_PROCESS))
    assert rows_of(cut) == rows_of(out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--images", "48", "--set=evolution.candidates=30"), "evolution.candidates: a re-rendering can't change it"),
        (("--set=runtime.engines.writer.model=X",), "runtime.engines.writer: a re-rendering can't change it"),
        ((), "nothing to do"),
    ],
)
def test_what_a_rerendering_can_not_change_is_refused_in_one_line(finished, arguments, said):
    refused = finished.cli("refine", "run", "--out", "refused", *arguments)
    assert refused.returncode == 2 and said in refused.stderr and len(refused.stderr.strip().splitlines()) == 1
    assert not (finished.cli.folder / "refused").exists()


def test_only_a_finished_run_with_a_release_can_be_started_from(finished, more):
    again = finished.cli("refine", "more", "--out", "refused", "--images", "9")
    assert again.returncode == 2 and "refine that one, in run" in again.stderr
    nothing = finished.cli("refine", "ledger", "--out", "refused", "--images", "9")
    assert nothing.returncode == 2 and "holds no run" in nothing.stderr


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """A run, and one that goes on from it, on a ledger of their own."""
    cli = Cli(tmp_path_factory.mktemp("longer"))
    settings = ("evolution.generations=2", "evolution.voting=image", "release.images=8")
    budget = ("dataset.lifetime_epsilon=3.5", "privacy.epsilon=2")
    _ok(cli(*cli.run_arguments("first", *settings, *budget)))
    arguments = ("refine", "first", "--out", "second", "--generations", "2", "--set=privacy.epsilon=1.5")
    done = _ok(cli(*arguments))
    return cli, arguments, done.stdout


def test_more_generations_go_on_from_the_survivors_with_a_charge_of_their_own(longer):
    cli, arguments, said = longer
    first, second = cli.folder / "first", cli.folder / "second"
    assert "goes on from run" in said and "at generation 2" in said
    assert sorted(path.name for path in (second / "generations").iterdir()) == ["02", "03"]
    survivors = pq.read_table(first / "generations" / "01" / "selected.parquet")["id"].to_pylist()
    candidates = pq.read_table(second / "generations" / "02" / "candidates.parquet").to_pylist()
    kept = {row["id"] for row in candidates if row["generation"] < 2}
    assert kept == set(survivors)
    born = [row for row in candidates if row["generation"] == 2]
    assert born and {row["parent_id"] for row in born} <= set(survivors)
    # Survivors are neither rendered nor embedded again.
    rows = {row["id"]: row for row in pq.read_table(first / "generations" / "01" / "candidates.parquet").to_pylist()}
    assert all(row["embedding_image"] == rows[row["id"]]["embedding_image"] for row in candidates if row["id"] in kept)
    entries = verify(cli.folder / "ledger" / "stickers.jsonl")
    assert [entry.kind for entry in entries].count("RESERVED") == 4
    assert "Nothing to do" in _ok(cli(*arguments)).stdout


def test_its_certificate_names_the_run_it_started_from_and_holds_for_both(longer):
    cli, _, _ = longer
    first, second = (
        json.loads((cli.folder / run / "release" / "privacy.json").read_text()) for run in ("first", "second")
    )
    assert second["origin"]["runs"] == [first["run"]["id"]]
    assert [part["epsilon"] for part in second["parts"]] == [2.0, 1.5]
    assert 2.0 < second["epsilon"] <= second["dataset"]["lifetime_epsilon_spent"] <= 3.5
    assert second["epsilon"] == second["origin"]["epsilon_together"]
    assert " checks hold" in _ok(cli("verify", "second")).stdout
    release = cli.folder / "second" / "release"
    assert "Goes on from run" in (release / "datasheet.md").read_text()
    page = (release / "report.html").read_text()
    assert "the figure is that of both together" in page and f"Goes on from run <code>{first['run']['id']}" in page
    found = json.loads(_ok(cli("compare", "first", "second", "--json")).stdout)
    assert found["settings"]["privacy.epsilon"] == {"a": 2.0, "b": 1.5}
    assert found["certificate"]["origin.runs"]["b"] == [first["run"]["id"]]


def test_what_the_rest_of_the_budget_does_not_cover_is_refused_before_anything_is_made(longer):
    cli, _, _ = longer
    before = (cli.folder / "ledger" / "stickers.jsonl").read_bytes()
    refused = cli("refine", "first", "--out", "third", "--generations", "2")
    assert refused.returncode == 3 and "does not cover" in refused.stderr
    assert (cli.folder / "ledger" / "stickers.jsonl").read_bytes() == before
    assert not (cli.folder / "third" / "generations").exists()


def test_a_killed_continuation_goes_on_from_what_it_has(longer):
    cli, arguments, _ = longer
    second = cli.folder / "second"
    rows = rows_of(second)
    shutil.rmtree(second / "release")
    (second / "generations" / "03" / "selected.parquet").unlink()
    _ok(cli(*arguments))
    assert rows_of(second) == rows, "the committed histograms were replayed"
    kinds = [entry.kind for entry in verify(cli.folder / "ledger" / "stickers.jsonl")]
    assert kinds.count("RESERVED") == 4 and kinds.count("OPENED") == 3


def test_another_ledger_does_not_know_the_run_that_is_gone_on_from(longer):
    cli, _, _ = longer
    refused = cli("refine", "first", "--out", "fourth", "--generations", "1", "--set=dataset.id=others")
    assert refused.returncode == 2 and "not registered" in refused.stderr
    assert not (cli.folder / "ledger" / "others.jsonl").exists()
