"""A method is one file (`toy.py`) and one line in the registry: so it is planned, run, certified and verified."""

import io
import math

import pytest
from rich.console import Console

from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.driver.driver import run_config
from spti_ray.methods import METHODS
from spti_ray.planning.plan import plan_summary
from spti_ray.planning.plan_text import plan_lines
from spti_ray.public.released_files import read_manifest
from spti_ray.release.verify import read_certificate, release_and_chain, verify_release
from spti_ray.runs.status import status_of
from tests.unit.conftest import BASE
from tests.unit.methods.toy import TOY


def settings(folder, **privacy):
    return BASE | {
        "method": TOY.name,
        "data": BASE["data"] | {"label_column": "label"},
        "privacy": BASE["privacy"] | privacy,
        "evolution": BASE["evolution"] | {"labels": ["animals-nature", "travel-places"]},
        "ledger": {"path": str(folder / "ledger")},
        "runtime": {"engines": "fake", "executor": "local"},
    }


@pytest.fixture
def registered(monkeypatch):
    """The one line."""
    monkeypatch.setitem(METHODS, TOY.name, TOY)


def test_a_method_without_its_line_is_unknown(tmp_path):
    with pytest.raises(ConfigError, match=r"method: should be 'spti', .* or 'dp-finetune' \(got 'toy'\)"):
        parse_config(settings(tmp_path))


@pytest.mark.usefixtures("registered")
def test_it_is_planned_as_it_declares_itself(tmp_path):
    summary = plan_summary(parse_config(settings(tmp_path)))
    assert summary["method"] == "toy" and summary["sigma"] > 0
    assert summary["texts_to_write"] == summary["candidate_renders"] > BASE["evolution"]["candidates"]
    assert any(
        "texts per generation, image voting: animals-nature 6, travel-places 6" in line for line in plan_lines(summary)
    )
    with pytest.raises(ConfigError, match="images by toy without noise .* NOT private"):
        parse_config(settings(tmp_path, epsilon=math.inf))


@pytest.mark.usefixtures("registered")
def test_it_runs_to_a_release_with_a_certificate_that_verifies(tmp_path):
    said = io.StringIO()
    release = run_config(parse_config(settings(tmp_path)), tmp_path / "run", Console(file=said, width=200))
    assert release == tmp_path / "run" / "release" and (release / "report.html").is_file()
    rows = read_manifest(release).to_pylist()
    assert len(rows) == BASE["release"]["images"] and all((release / row["file"]).is_file() for row in rows)
    assert {row["label"] for row in rows} == {"animals-nature", "travel-places"} and len(
        {row["text"] for row in rows}
    ) == 2, "the best ones"
    for page in ("datasheet.md", "report.html"):
        told = (release / page).read_text()
        assert "Best of each (of nobody)" in told and "Textual Intermediaries" not in told, page
    document = read_certificate(release)
    assert document["release"]["method"] == "toy" and document["epsilon"] == BASE["privacy"]["epsilon"]
    assert all(check.holds for check in verify_release(*release_and_chain(tmp_path / "run", None)))
    assert status_of(tmp_path / "run").measured == BASE["evolution"]["generations"]
    assert f"spent epsilon {math.floor(document['achieved_epsilon'] * 100) / 100:g}" in said.getvalue()
