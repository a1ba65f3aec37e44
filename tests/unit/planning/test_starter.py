"""`spti init`: the file that it writes can be read, planned and run; what no model wrote says so; nothing is opened."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError, load_config, parse_config
from spti_ray.planning.plan import plan_summary
from spti_ray.planning.plan_text import prompt_previews
from spti_ray.planning.starter import Wish, starter
from spti_ray.public.drafting import NUM_EXAMPLES, draft_prompts
from spti_ray.public.drafting_examples import TEMPLATES

WISH = Wish("street signs", "toys")
FAKE = ("--set", "runtime.engines=fake")


def init(*arguments, out, dataset="toys-2026"):
    named = ["--dataset", dataset] if dataset else []
    return CliRunner().invoke(app, ["init", *map(str, arguments), *named, "--out", str(out)])


@pytest.mark.parametrize("how", [["--template"], FAKE])
@pytest.mark.parametrize("labels", [[], ["--labels", "tumour, normal"]])
def test_what_is_written_can_be_planned_and_shown_as_it_is(tmp_path, how, labels):
    out = tmp_path / "my.yaml"
    done = init("slides of lymph nodes", *labels, *how, "--epsilon", "2", "--data", "no/such/folder", out=out)
    assert done.exit_code == 0, done.output
    config = load_config(out)
    assert config.privacy.epsilon == 2 and config.data.path == "no/such/folder"
    assert [label.name for label in config.evolution.labels] == (["tumour", "normal"] if labels else [])
    assert plan_summary(config)["dataset"] == "toys-2026"
    assert all("slides of lymph nodes" in prompt for prompt in prompt_previews(config))
    assert len(config.prompts.examples) == len(config.prompts.rephrase_examples) == 8


def test_a_file_with_labels_offers_to_have_their_shares_voted_on(tmp_path):
    out = tmp_path / "my.yaml"
    init("street signs", "--template", "--labels", "stop,yield", out=out)
    assert load_config(out).evolution.label_shares == "public"
    out.write_text(out.read_text().replace("# label_shares: voted", "label_shares: voted"))
    assert load_config(out).asks_label_shares


def test_the_file_says_that_it_is_public_and_must_not_come_from_the_images(tmp_path):
    out = tmp_path / "my.yaml"
    init("street signs", "--template", out=out)
    head = out.read_text().split("\ntitle:")[0]
    assert "EVERYTHING IN THIS FILE IS PUBLIC" in head and "looking at the private images" in head


def test_every_template_is_marked_and_nothing_else(tmp_path):
    made = draft_prompts("street signs", (), None)
    marked = [line for line in starter(WISH, made, None).splitlines() if "TEMPLATE" in line]
    assert len(marked) == len(TEMPLATES) + 2 + 2 * NUM_EXAMPLES
    none = {"templates": frozenset(), "template_examples": frozenset(), "template_changes": frozenset()}
    assert "TEMPLATE" not in starter(WISH, replace(made, **none), "a model")
    some = replace(made, **none | {"templates": frozenset({"some examples"}), "template_examples": frozenset({3})})
    lines = starter(WISH, some, "a model").splitlines()
    (place,) = [i for i, line in enumerate(lines) if "some are TEMPLATES" in line]
    assert lines[place + 4].endswith("# TEMPLATE") and sum(line.endswith("# TEMPLATE") for line in lines) == 1


def test_an_existing_file_is_never_overwritten(tmp_path):
    out = tmp_path / "my.yaml"
    out.write_text("mine")
    done = init("street signs", "--template", out=out)
    assert done.exit_code == 2 and "not overwritten" in done.output and out.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["   "], "DOMAIN: say in a few words"),
        (["signs " * 30], "at most 12 words"),
        (["street signs", "--labels", "a,,b"], "--labels: give names"),
        (["street signs", "--patients", "50"], "--patients: how many groups there are; name their column"),
        (["street signs", "--group", "patient", "--private-records", "50"], "a group votes once, so say how many"),
        (["street signs", "--group", " "], "--group: give the name of a column"),
        (["street signs", "--labels", "a,a"], "evolution.labels: label names must differ"),
        (["street signs", "--epsilon", "0"], "privacy.epsilon: "),
        (["street signs", "--delta", "2"], "privacy.delta: "),
        (["street signs", "--set", "privacy.epsilon=2"], "only runtime.* can be set here"),
        (["street signs", "--set", "runtime.engines.writer.modle=x"], "runtime.engines.writer.modle: "),
    ],
)
def test_what_can_not_be_written_is_one_line_and_leaves_nothing(tmp_path, arguments, message):
    done = init(*arguments, "--template", out=tmp_path / "my.yaml")
    assert done.exit_code == 2 and message in done.output and done.output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    done = init("street signs", "--template", out=tmp_path / "no" / "my.yaml")
    assert done.exit_code == 2 and "there is no folder" in done.output


def test_a_stated_number_of_records_sets_the_schedule(tmp_path):
    few, many = (
        yaml.safe_load(starter(Wish("signs", "toys", private_records=records), draft_prompts("signs", (), None), None))[
            "evolution"
        ]
        for records in (2_000, 50_000)
    )
    assert few["candidates"] < many["candidates"] == 14_000
    assert few["themes"] < many["themes"] and (len(few["themes"]), few["generations"]) == (1, 4)


def test_records_too_few_for_any_schedule_are_told_in_the_file_and_on_the_terminal(tmp_path):
    out = tmp_path / "my.yaml"
    done = init("street signs", "--template", "--private-records", "3", "--epsilon", "0.1", out=out)
    assert done.exit_code == 0 and "so few records can't outvote the noise" in done.output
    assert "# WARNING: so few records can't outvote" in out.read_text()


def test_engines_that_draft_are_written_down(tmp_path):
    out = tmp_path / "my.yaml"
    assert init("street signs", "--template", "--set", "runtime.engines.writer.batch_size=8", out=out).exit_code == 0
    assert yaml.safe_load(out.read_text())["runtime"] == {"engines": {"writer": {"batch_size": 8}}}


def test_a_writer_that_is_not_there_is_one_line(tmp_path):
    writer = "runtime.engines.writer.kind=spti_ray.models.fakes:Nothing"
    done = init("street signs", "--set", writer, "--set", "runtime.engines.writer.model=x", out=tmp_path / "my.yaml")
    assert (
        done.exit_code != 0
        and done.output.splitlines()[-1].startswith("spti: ")
        and not (tmp_path / "my.yaml").exists()
    )


@given(
    domain=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    labels=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), max_size=3, unique=True),
    data=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30),
)
def test_whatever_the_words_the_file_is_read_back_as_they_were(domain, labels, data):
    domain, labels = " ".join(domain.split()), tuple(label.strip() for label in labels)
    try:
        text = starter(Wish(domain, "toys", labels, data), draft_prompts(domain, labels, None), None)
    except ConfigError:
        return
    config = parse_config(yaml.safe_load(text))
    assert config.prompts.domain == domain and config.data.path == data
    assert tuple(label.name for label in config.evolution.labels) == labels
    json.dumps(config.model_dump(mode="json"))


def test_the_draft_is_the_same_each_time():
    assert draft_prompts("signs", ("a", "b"), None) == draft_prompts("signs", ("a", "b"), None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--data", "s3://AKIA:sEcReT@bucket/x"), "--data s3://bucket/x"),
        (("--set", "runtime.address=ray://me:sEcReT@host:1"), "runtime.address"),
    ],
)
def test_credentials_are_not_written_down(tmp_path, given, told):
    out = tmp_path / "my.yaml"
    done = init("street signs", "--template", *given, out=out)
    assert done.exit_code == 2 and told in done.output and "sEcReT" not in done.output and not out.exists()


@pytest.mark.parametrize("dataset", ["", "scans of 2026", "../x"])
def test_an_id_is_given_or_the_command_refused_and_none_is_made_up(tmp_path, dataset):
    done = init(
        "street signs", "--template", "--data", str(tmp_path / "signs"), out=tmp_path / "my.yaml", dataset=dataset
    )
    assert done.exit_code == 2 and done.output.count("\n") == 1 and not (tmp_path / "my.yaml").exists()
    assert ("--dataset: give the id" if not dataset else "--dataset: ") in done.output


def test_a_terminal_is_asked_for_the_id(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "spti_ray.cli", "init", "street signs", "--template", "--out", "my.yaml"]
    os.write(ours, b"signs-2026\n")
    done = subprocess.run(command, cwd=tmp_path, stdin=theirs, capture_output=True, text=True, timeout=120, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0 and "id of these images" in done.stderr, done.stderr
    assert load_config(tmp_path / "my.yaml").dataset.id == "signs-2026"


def test_a_lifetime_budget_of_twice_the_runs_epsilon_is_written_to_be_changed(tmp_path):
    out = tmp_path / "my.yaml"
    assert init("street signs", "--template", "--epsilon", "1.5", out=out).exit_code == 0
    assert load_config(out).dataset.lifetime_epsilon == 3 and "CHANGE IT NOW" in out.read_text()


def test_groups_are_the_units_and_their_number_sets_the_schedule(tmp_path):
    out, plain = tmp_path / "my.yaml", tmp_path / "plain.yaml"
    assert init("scans", "--template", "--group", "patient_id", "--patients", "2000", out=out).exit_code == 0
    config = load_config(out)
    assert (config.privacy.unit, config.data.group_column) == ("group", "patient_id")
    assert init("scans", "--template", "--private-records", "2000", out=plain).exit_code == 0
    assert config.evolution.candidates == load_config(plain).evolution.candidates
    assert "for about 2000 groups" in out.read_text()


def test_labels_have_lists_of_their_own_and_each_is_shown_as_the_writer_sees_it(tmp_path):
    out = tmp_path / "my.yaml"
    assert init("photos of signs", "--labels", "round,square", *FAKE, out=out).exit_code == 0
    config = load_config(out)
    assert set(config.prompts.label_attributes) == {"round", "square"}
    assert all(list(lists) == ["kind", "detail"] for lists in config.prompts.label_attributes.values())
    heads = [prompt.splitlines()[0] for prompt in prompt_previews(config)]
    assert heads[:2] == ["--- prompt: new text, label round ---", "--- prompt: new text, label square ---"]
    for label, prompt in zip(("round", "square"), prompt_previews(config), strict=False):
        last = prompt.splitlines()[-1]
        assert last.startswith(f"Subject: {label}. Kind: ")
        assert any(f"Kind: {value}." in last for value in config.prompts.label_attributes[label]["kind"])
