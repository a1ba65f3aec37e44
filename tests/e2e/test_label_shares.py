"""A run that asks the private images how many of them have each label, and whose release follows the noised counts."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest

from spti_ray.config.loading import parse_config
from spti_ray.dp.artifact import complete, read
from spti_ray.evaluate.command import EvaluationRequest, _of_run
from spti_ray.models.bundled import package_file
from spti_ray.public.label_shares import shares_of
from spti_ray.public.release import LABEL_COUNTS_KEY, rewrite_certificate
from spti_ray.runs.folder import RunDir
from spti_ray.runs.run_file import read_run
from spti_ray.types import split_by_share
from tests.e2e.conftest import LOCAL, Cli
from tests.e2e.test_methods import _ok

COMMON, RARE, NONE = "animals-nature", "smileys-emotion", "vehicles"
SKEWED = {COMMON: 90, RARE: 30}
"""Private images by label; there is none of `vehicles`."""
SETTINGS = (
    "evolution.label_shares=voted",
    f"evolution.labels=[{COMMON}, {{name: {RARE}, hint: a face}}, {NONE}]",
    "data.label_column=label",
    "privacy.epsilon=8",
)
MORE = tuple(f"--set={setting}" for setting in LOCAL)


def _skewed(folder):
    table = pq.read_table(package_file("data/stickers.parquet"))
    labels = table["label"].to_pylist()
    rows = [i for name, count in SKEWED.items() for i in [i for i, label in enumerate(labels) if label == name][:count]]
    pq.write_table(table.take(rows), folder / "skewed.parquet")
    return f"data.path={folder / 'skewed.parquet'}"


def _arguments(cli, *settings):
    return cli.run_arguments("run", *SETTINGS, _skewed(cli.folder), *settings)


@pytest.fixture(scope="module")
def voted(tmp_path_factory):
    cli = Cli(tmp_path_factory.mktemp("shares"))
    said = _ok(cli(*_arguments(cli))).stdout
    return cli, cli.folder / "run", said


def _counts(run):
    (path,) = complete(run / "generations", 0)
    return dict(zip([COMMON, RARE, NONE], read(path)[1].counts_K.tolist(), strict=True))


def _quota(run, total):
    """As many as the noised counts say, by label."""
    shares = {label: share for label, share in shares_of(_counts(run)).items() if share}
    return dict(zip(shares, split_by_share(total, list(shares.values())), strict=True))


def _released(run):
    return dict(Counter(pq.read_table(run / "release" / "manifest.parquet")["label"].to_pylist()))


def _with_images(quota):
    return {label: count for label, count in quota.items() if count}


def test_the_first_question_is_how_many_records_each_label_has(voted):
    _, run, _ = voted
    (path,) = complete(run / "generations", 0)
    metadata, histogram = read(path)
    assert [name.startswith("g00-label-") for name in histogram.candidate_ids] == [True] * 3
    for label, count in _counts(run).items():
        assert abs(count - SKEWED.get(label, 0)) < 7 * metadata.sigma
    assert metadata.sigma < 3, "or the test above says nothing"


def test_it_is_one_charge_of_the_planned_ones_and_the_release_is_proved(voted):
    cli, run, _ = voted
    entries = [json.loads(line) for line in (cli.folder / "ledger" / "stickers.jsonl").read_text().splitlines()]
    reserved = [entry for entry in entries if entry["kind"] == "RESERVED"]
    assert [entry["generation"] for entry in reserved] == [0, 1, 2] and len({entry["sigma"] for entry in reserved}) == 1
    assert [entry["num_candidates"] for entry in reserved] == [3, 24, 24]
    certificate = json.loads((run / "release" / "privacy.json").read_text())
    assert certificate["mechanism"]["generations"] == 3
    assert " checks hold" in _ok(cli("verify", "run")).stdout


def test_candidates_and_release_have_the_voted_shares_in_place_of_the_equal_public_ones(voted):
    _, run, _ = voted
    for number in (1, 2):
        labels = pq.read_table(run / "generations" / f"{number:02d}" / "candidates.parquet")["label"].to_pylist()
        assert sum(Counter(labels).values()) == 24 and Counter(labels)[COMMON] >= 14
    assert _released(run) == _with_images(_quota(run, 16))
    assert _released(run)[COMMON] >= 10


def test_the_release_says_that_its_shares_are_noised_counts(voted):
    _, run, said = voted
    sheet, page = ((run / "release" / name).read_text() for name in ("datasheet.md", "report.html"))
    counts = _counts(run)
    assert "Their shares are those of noised counts" in sheet and "public shares" not in sheet
    assert f"noised count {counts[COMMON]}, share {100 * shares_of(counts)[COMMON]:.1f} %" in sheet
    assert "Steps 2 to 4 ran for 2 generation(s)" in sheet
    assert "Generation 0 asked how many records each label has" in page and "<h3>Generation 0</h3>" not in page
    assert "the first asks how many records each label has" in said


def test_the_datasheet_says_so_too_when_the_certificate_is_written_again(voted):
    _, run, _ = voted
    before = (run / "release" / "datasheet.md").read_text()
    certificate = json.loads((run / "release" / "privacy.json").read_text())
    rewrite_certificate(run / "release", parse_config(read_run(run)["config"]), certificate)
    after = (run / "release" / "datasheet.md").read_text()
    assert sorted(after.splitlines()) == sorted(before.splitlines()), "models may come in another order"


def test_a_run_that_was_killed_after_the_question_does_not_ask_it_again(tmp_path):
    cli = Cli(tmp_path)
    arguments = _arguments(cli)
    ours = cli.folder / "run"
    cli.kill_when(arguments, (ours / "generations" / "01" / "candidates.parquet").exists)
    assert not (ours / "release").exists()
    before = _counts(ours)
    _ok(cli(*arguments))
    assert _counts(ours) == before and _released(ours) == _with_images(_quota(ours, 16))
    entries = [json.loads(line) for line in (cli.folder / "ledger" / "stickers.jsonl").read_text().splitlines()]
    assert [entry["generation"] for entry in entries if entry["kind"] == "RESERVED"].count(0) == 1
    assert " checks hold" in _ok(cli("verify", "run")).stdout


def test_a_release_is_the_same_when_it_is_made_again_from_what_was_answered(voted, tmp_path):
    """All that comes after the noised counts follows from them and from public settings."""
    cli, run, _ = voted
    kept = tmp_path / "release"
    shutil.move(run / "release", kept)
    _ok(cli(*_arguments(cli)))
    for name in ("manifest.parquet", "metadata.jsonl"):
        assert (run / "release" / name).read_bytes() == (kept / name).read_bytes()


def test_more_images_and_more_generations_have_the_shares_of_the_run_that_asked(voted):
    cli, run, _ = voted
    _ok(cli("refine", "run", "--out", "again", "--images", "40", *MORE))
    assert _released(cli.folder / "again") == _with_images(_quota(run, 40))
    _ok(cli("refine", "run", "--out", "on", "--generations", "1", *MORE))
    _ok(cli("refine", "on", "--out", "further", "--generations", "1", *MORE))
    for name, number in (("on", 3), ("further", 4)):
        new = cli.folder / name
        assert [path.name for path in sorted((new / "generations").iterdir())] == [f"{number:02d}"], "nothing is asked"
        assert _released(new) == _with_images(_quota(run, 16))
        assert "The run that this one starts from asked" in (new / "release" / "report.html").read_text()
        assert " checks hold" in _ok(cli("verify", name)).stdout


def test_a_run_that_goes_on_can_not_say_that_voted_shares_are_public(voted):
    cli, _, _ = voted
    done = cli("refine", "run", "--out", "said", "--generations", "1", "--set=evolution.label_shares=public", *MORE)
    assert done.returncode == 2 and "evolution.label_shares: is public, but those of" in done.stderr
    assert not (cli.folder / "said").exists()


def test_a_curve_of_generations_begins_with_the_first_that_has_candidates(voted):
    _, run, _ = voted
    known = RunDir(run, "run", parse_config(read_run(run)["config"]))
    sets = _of_run(EvaluationRequest(run, generation="all"), known)
    assert [images.name for images in sets] == ["generation-01-candidates", "generation-01", "generation-02"]


def test_a_run_that_asked_nothing_of_labels_has_no_shares_to_go_on_with(voted):
    cli, run, _ = voted
    shutil.copytree(run, cli.folder / "silent")
    manifest = cli.folder / "silent" / "release" / "manifest.parquet"
    table = pq.read_table(manifest)
    said = {key: value for key, value in table.schema.metadata.items() if key != LABEL_COUNTS_KEY}
    pq.write_table(table.replace_schema_metadata(said), manifest)
    done = cli("refine", "silent", "--out", "lost", "--generations", "1", *MORE)
    assert done.returncode == 2 and "silent did not ask for the labels' shares" in done.stderr
    assert not (cli.folder / "lost").exists()


def test_settings_with_which_nobody_can_be_asked_are_refused_before_any_charge(cli):
    for setting, why in (
        ("evolution.labels=[]", "names no labels"),
        (f"evolution.labels=[{COMMON}]", "names 1 label;"),
        ("evolution.generations=1", "set at least 2"),
        ("method=random", "with method: random nobody votes"),
        ("privacy.votes_per_record=4", "larger than the number of labels (3)"),
    ):
        done = cli(*_arguments(cli, setting))
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (cli.folder / "ledger").exists()
