"""The page as a file: whole by itself, and nothing in it but what was given."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError
from tests.unit.planning.page.scripts import computed, values_in


def run(*words):
    return CliRunner().invoke(app, ["plan", *words])


def test_the_command_writes_a_page_and_says_where(tmp_path):
    page = tmp_path / "plan.html"
    words = ["bundled:stickers", "--private-records", "900", "--set", "privacy.epsilon=1", "--price", "cpu=0.1"]
    done = run(*words, "--html", str(page))
    assert done.exit_code == 0 and f"page        {page}" in done.output
    values = values_in(page)
    assert values["chosen"]["epsilon"] == 1 and values["chosen"]["records"] == 900
    assert values["chosen"]["prices"] == {"cpu": 0.1}
    assert values["command"] == ["spti", "plan", "bundled:stickers", "--set", "privacy.epsilon=1"]
    # With --json nothing but JSON is printed.
    assert json.loads(run(*words, "--json", "--html", str(page)).output)["epsilon"] == 1


def test_a_file_that_is_no_page_is_never_written_over(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("title: mine")
    done = run("bundled:stickers", "--html", str(mine))
    assert done.exit_code == 2 and "is there, and is no page of spti plan" in done.output
    assert mine.read_text() == "title: mine"
    assert run("bundled:stickers", "--html", str(tmp_path / "page.html")).exit_code == 0
    assert run("bundled:stickers", "--html", str(tmp_path / "page.html")).exit_code == 0, "an earlier page is"


def test_prompts_are_shown_alone(tmp_path):
    done = run("bundled:stickers", "--prompts", "--html", str(tmp_path / "page.html"))
    assert done.exit_code == 2 and "leave out the other options" in done.output


def test_the_number_of_records_is_only_what_was_given(tmp_path):
    page = tmp_path / "plan.html"
    assert run("bundled:stickers", "--html", str(page)).exit_code == 0
    values = values_in(page)
    assert values["chosen"]["records"] is None
    assert "--private-records" not in values["command"]
    text = page.read_text(encoding="utf-8")
    assert "never a count" in text and "Nothing in it may come from looking at the private images" in text


def test_the_page_asks_for_nothing_from_elsewhere(make_config, page_of):
    text = page_of(make_config(title="Toys & <b>more</b> </script><script>alert(1)</script>")).read_text(
        encoding="utf-8"
    )
    assert re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#)""", text) == []
    assert re.findall(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", text) == []
    (rule,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src 'none'" in rule and "unsafe-eval" not in rule
    assert re.findall(r"script-src [^;]*unsafe-inline", rule) == [], "only the page's own scripts run"
    assert "<b>more</b>" not in text and text.count("<script") == 7


def test_every_input_has_a_label_and_a_help_of_its_own(make_config, page_of):
    text = page_of(make_config(runtime__engines="embedded")).read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    inputs = re.findall(r"<(?:input|select)\b[^>]*>", text)
    assert len(inputs) > 20
    for tag in inputs:
        by_label = re.search(r'id="([^"]+)"', tag)
        assert (by_label and f'<label for="{by_label[1]}">' in text) or "aria-label=" in tag, tag
    for described in re.findall(r'aria-(?:describedby|labelledby)="([^"]+)"', text):
        assert described in ids


def test_pages_of_equal_settings_are_equal(make_config, page_of):
    first = page_of(make_config()).read_bytes()
    assert page_of(make_config()).read_bytes() == first
    assert len(first) < 200_000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "random"}, "by method random no votes are paid for"),
        ({"privacy": {"epsilon": "inf", "delta": 1e-5, "allow_not_private": True}}, "at epsilon inf"),
        ({"privacy__delta": 1e-13}, "privacy.delta is 1e-13, and the page has 1e-12 to 0.01"),
        ({"privacy__epsilon": 60.0}, "privacy.epsilon is 60, and the page has 0.05 to 50"),
        ({"privacy__votes_per_record": 11, "evolution__generations": 100}, "in all generations is 1100"),
    ],
)  # fmt: skip
def test_what_the_page_can_not_show_is_refused_in_one_line(changes, said, make_config, page_of):
    with pytest.raises(ConfigError) as error:
        page_of(make_config(**changes))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_run_that_goes_on_from_another_one_is_refused(make_config, page_of):
    origin = {"run": "r", "path": "x", "generation": 3}
    with pytest.raises(ConfigError, match="is for new runs"):
        page_of(make_config(origin=origin))


@pytest.mark.parametrize(("name", "said"), [("nowhere/plan.html", "there is no folder"), (".", "is a folder")])
def test_a_place_that_is_none_is_refused_in_one_line(name, said, tmp_path):
    done = run("bundled:stickers", "--html", str(tmp_path / name))
    assert done.exit_code == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_no_credential_in_a_url_is_on_the_page(tmp_path):
    page = tmp_path / "plan.html"
    override = "prompts.domain=toys as on https://me:hunter2@host/toys"
    assert run("bundled:stickers", "--set", override, "--html", str(page)).exit_code == 0
    assert "hunter2" not in page.read_text(encoding="utf-8")
    assert values_in(page)["command"][-1] == "prompts.domain=toys as on https://host/toys"


def test_words_of_the_command_are_those_of_a_shell(tmp_path):
    page = tmp_path / "plan.html"
    override = "prompts.domain=children's toys; $(rm)"
    assert run("bundled:stickers", "--set", override, "--html", str(page)).exit_code == 0
    command = computed(page, "Planner.plan(d, d.chosen).command")
    assert override in shlex.split(command)
