"""The page of a run, while it goes and after."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import pytest

from spti_ray.dp.ledger import Ledger
from spti_ray.observability import reading
from spti_ray.release.report.build import build_report
from spti_ray.show.page import RunPage
from tests.local_runs import at_stage, run
from tests.ray.waiting import until

pytestmark = pytest.mark.usefixtures("kept")

OPEN = {"privacy__allow_not_private": True}


def _texts(out, generation):
    table = pq.read_table(out / "generations" / f"{generation:02d}" / "candidates.parquet")
    return {row["text"] for row in table.to_pylist() if row["generation"] == generation}


def test_of_a_run_at_work_only_generations_whose_votes_are_committed_are_shown(local, tmp_path, monkeypatch):
    seen, out = [], tmp_path / "run"

    def look():
        page = RunPage(out)
        until(lambda: "generation 2/2: votes" in page.html())
        seen.append((page.committed(), page.html(), _texts(out, 0), _texts(out, 1)))

    monkeypatch.setattr(reading, "_WRITTEN_EVERY_S", 0.05)
    with at_stage("votes 1", look):
        run(local(**OPEN), out)
    ((committed, html, first, second),) = seen
    assert committed == (0,)
    assert any(text in html for text in first) and not any(text in html for text in second - first)
    assert "A run at work" in html and re.search(r"generation 2/2: votes \| \d+/\d+ texts and images", html)
    assert 'http-equiv="refresh"' in html and "This release is not private" not in html
    assert not re.search(r'id="(gallery|privacy|audit|models)"', html)


def test_a_page_is_of_one_reading_of_the_ledger(local, tmp_path, monkeypatch):
    out, reads, entries = tmp_path / "run", [], Ledger.entries
    run(local(**OPEN), out)
    (out / "release" / "report.html").unlink()

    def read(ledger):
        reads.append(1)
        return entries(ledger)

    monkeypatch.setattr(Ledger, "entries", read)
    RunPage(out).html()
    assert len(reads) == 1


def test_before_the_first_votes_a_page_says_so(local, tmp_path):
    seen, out = [], tmp_path / "run"
    with at_stage("candidates 0", lambda: seen.append(RunPage(out).html())):
        run(local(**OPEN), out)
    assert "No generation has been voted on yet." in seen[0]


def test_a_histogram_that_the_ledger_does_not_call_committed_is_not_shown(local, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run(local(**OPEN), out)
    (out / "release" / "report.html").unlink()
    page = RunPage(out)
    assert page.committed() == (0, 1) and "Generation 1" in page.html()
    monkeypatch.setattr(RunPage, "committed", lambda page, entries: (0,))
    html = page.html()
    assert "Generation 0" in html and "Generation 1" not in html
    assert not any(text in html for text in _texts(out, 1) - _texts(out, 0))


def test_an_interrupted_run_says_so_and_is_not_asked_for_again(local, tmp_path):
    out = tmp_path / "run"

    class Crash(BaseException):
        pass

    def crash():
        raise Crash

    with at_stage("votes 1", crash), pytest.raises(Crash):
        run(local(**OPEN), out)
    html = RunPage(out).html()
    assert "A run that was interrupted" in html and 'http-equiv="refresh"' not in html


def test_the_page_of_a_finished_run_is_its_report(local, tmp_path):
    out = tmp_path / "run"
    run(local(**OPEN), out)
    assert RunPage(out).html() == build_report(out).read_text()


def test_of_a_run_that_nothing_protects_no_generation_is_shown(local, tmp_path):
    seen, out = [], tmp_path / "run"

    def look():
        page = RunPage(out)
        seen.append((page.committed(), page.html()))

    with at_stage("votes 1", look):
        run(local(privacy={"epsilon": float("inf"), "delta": 1e-5, "allow_not_private": True}), out)
    ((committed, html),) = seen
    assert committed == () and 'class="card generation"' not in html
