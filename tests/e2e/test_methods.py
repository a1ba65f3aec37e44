"""Each method through the command line, with the fake engines: what it leaves, and what it must not leave."""

from __future__ import annotations

import json
import stat

import pyarrow.parquet as pq
import pytest

from spti_ray.dp.file_chain import verify

ALLOWED = "privacy.allow_not_private=true"


def _ok(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    from tests.e2e.conftest import Cli

    return Cli(tmp_path_factory.mktemp("methods"))


def test_images_evolve_under_the_same_gate_and_the_release_is_proved_and_honest(cli):
    settings = (
        "method=pe-image",
        "evolution.voting=image",
        "evolution.lookahead=2",
        f"ledger.path={cli.folder}/images",
    )
    _ok(cli(*cli.run_arguments("images", *settings)))
    out = cli.folder / "images"
    rows = pq.read_table(out / "release" / "manifest.parquet").to_pylist()
    assert len(rows) == 16 and {"renderer_model", "image_embedder_model"} <= set(rows[0])
    assert "writer_model" not in rows[0] and any(row["generation"] > 0 for row in rows)
    assert json.loads((out / "release" / "privacy.json").read_text())["release"]["method"] == "pe-image"
    assert "arXiv 2305.15560" in (out / "release" / "datasheet.md").read_text()
    operators = pq.read_table(out / "generations" / "02" / "candidates.parquet")["operator"].to_pylist()
    assert set(operators) <= {"random", "image"} and "image" in operators
    assert " checks hold" in _ok(cli("verify", "images")).stdout
    assert "Nothing to do" in _ok(cli(*cli.run_arguments("images", *settings))).stdout


def test_generation_0_uses_no_private_data_and_no_ledger(cli):
    nowhere = ("data.path=/there/is/nothing", f"ledger.path={cli.folder}/never")
    _ok(cli(*cli.run_arguments("random", "method=random", *nowhere)))
    release = cli.folder / "random" / "release"
    assert not (cli.folder / "never").exists() and not (release / "privacy.json").exists()
    rows = pq.read_table(release / "manifest.parquet").to_pylist()
    assert len(rows) == 16 and all(row["generation"] == 0 and row["text"] for row in rows)
    assert "No private data were used" in (release / "datasheet.md").read_text()
    page = (release / "report.html").read_text()
    assert "No private data were used" in page and "not private" not in page.lower().replace("no private", "")
    assert "nothing is charged" in _ok(cli("status", "random")).stdout


def test_what_is_not_private_has_to_be_asked_for(cli):
    for setting in ("method=captions", "privacy.epsilon=inf"):
        refused = cli(*cli.run_arguments("refused", setting))
        assert refused.returncode == 2 and "privacy.allow_not_private: true" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    assert not (cli.folder / "refused").exists()


def test_a_renderer_that_can_not_be_trained_is_refused_in_one_line(cli):
    refused = cli(*cli.run_arguments("finetune", "method=dp-finetune"))
    assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1
    assert "dp-finetune trains a model of kind 'diffusers'" in refused.stderr
    assert not (cli.folder / "finetune").exists()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("captions", ("method=captions",)),
        ("unnoised", ("privacy.epsilon=inf", "evolution.voting=image")),
    ],
)
def test_what_is_not_private_stays_inside_is_marked_and_is_told_by_later_certificates(cli, name, settings):
    done = _ok(cli(*cli.run_arguments(name, *settings, ALLOWED)))
    out = cli.folder / name
    assert {path.name for path in out.iterdir()} == {"run.yaml", "internal"}, "no release, no generations"
    assert not list(out.rglob("privacy.json")) and not list(out.rglob("report.html"))
    inside = out / "internal" / "not-private"
    assert (inside / "NOT-PRIVATE.txt").read_text().startswith("NOT PRIVATE: ")
    assert len(list((inside / "images").glob("*.png"))) == pq.read_metadata(inside / "manifest.parquet").num_rows == 16
    for path in [out / "internal", *(out / "internal").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert "NOT PRIVATE" in done.stdout and "epsilon 0" not in done.stdout

    entries = verify(cli.folder / "ledger" / "stickers.jsonl")
    run = [entry.event for entry in entries if entry.kind == "EVALUATED"][-1].run
    assert f"run: {run}" in (out / "run.yaml").read_text()
    assert {entry.kind for entry in entries if getattr(entry.event, "run", None) == run} == {"EVALUATED"}
    assert "Nothing to do" in _ok(cli(*cli.run_arguments(name, *settings, ALLOWED))).stdout
    assert len(verify(cli.folder / "ledger" / "stickers.jsonl")) == len(entries)
    assert cli("verify", name).returncode == 1
    looked = _ok(cli("evaluate", name, "--limit", "120", "--resamples", "0"))
    assert "16 of 16 images" in looked.stdout and "recorded as a look" in looked.stderr
    assert cli("ledger", "verify", "ledger").returncode == 0


def test_a_later_release_tells_what_was_not_private_and_verifies(cli):
    _ok(cli(*cli.run_arguments("later", "evolution.voting=image")))
    certificate = json.loads((cli.folder / "later" / "release" / "privacy.json").read_text())
    kinds = {run["what"] for run in certificate["tuning"]["not_private_runs"]}
    assert any("captions" in kind for kind in kinds) and any("epsilon inf" in kind for kind in kinds)
    assert certificate["dataset"]["lifetime_epsilon_spent"] <= 2.0, "they charged nothing"
    assert "no protection at all" in (cli.folder / "later" / "release" / "datasheet.md").read_text()
    assert " checks hold" in _ok(cli("verify", "later")).stdout
