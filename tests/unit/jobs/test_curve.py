"""jobs/curve.py: which cells a study has, what is run again, and what the report says. Commands are stood in for here;
tests/e2e/test_curve.py gives them."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import curve
from jobs.sweep import run
from jobs.sweep.recorded import entry, figures_of, read_recorded
from jobs.sweep.study import Cell, cells, read_study
from jobs.sweep.tables import CLOSED_BY, SHOWN, by_group, gap_closed, ratio_of, report, summarise
from spti_ray.config.loading import ConfigError

ROOT = Path(__file__).parents[3]

STUDY = """
config: {config}
set: [evolution.candidates=20, "evolution.themes=[]"]
not_private: [privacy.allow_not_private=true]
seeds: [0, 1]
size: 20
metric: frechet
epsilons: [1, .inf]
methods: {{spti: [], pe-image: [evolution.lookahead=1]}}
once: {{random: []}}
ablations:
  voting: {{caption: [evolution.voting=caption]}}
ratios:
  spti over random: {{of: spti@1, over: random, at_most: 0.75}}
"""


@pytest.fixture
def study_file(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(config=ROOT / "jobs" / "stickers.yaml"))
    return file


@pytest.fixture
def study(study_file):
    return read_study(study_file)


def evaluation(value, judge="other", independent=True):
    metric = {"name": "frechet", "value": value, "yardstick": 1.0}
    return {"judge": {"model": judge}, "independent": independent, "metrics": [metric]}


@pytest.fixture
def commands(monkeypatch):
    """Stands in for `spti`: writes what the real commands write. `values` is by group of cells."""
    given = []
    values = {}

    def command(log, *arguments):
        given.append(arguments)
        out = Path(arguments[arguments.index("--out") + 1]) if arguments[0] == "run" else Path(arguments[1])
        group, _, seed = out.name.rpartition("-")[0].rpartition("-seed")
        if values.get(group) is None:
            raise run.CellFailed(f"spti {arguments[0]} failed")
        (out / "internal" / "evaluation").mkdir(parents=True, exist_ok=True)
        if arguments[0] == "evaluate":
            name = arguments[arguments.index("--name") + 1]
            document = {"results": [evaluation(values[group] + int(seed))]}
            (out / "internal" / "evaluation" / f"{name}.json").write_text(json.dumps(document))

    monkeypatch.setattr(run, "_command", command)
    return given, values


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["curve", *map(str, arguments)])
    return curve.main()


def test_a_study_has_every_method_at_every_epsilon_with_every_seed(study):
    found = cells(study)
    groups = ["random", "spti@1", "pe-image@1", "spti@inf", "pe-image@inf", "voting: caption@1"]
    assert sorted((cell.group, cell.seed) for cell in found) == sorted((g, seed) for g in groups for seed in (0, 1))
    assert len({cell.folder for cell in found}) == len(found)
    assert {cell.group for cell in found[:4]} == {"random", "spti@1"}, "what the ratios need comes first"


def test_settings_of_a_cell_are_the_studys_then_its_own_and_only_what_is_not_private_asks_for_it(study):
    by_name = {cell.folder: cell for cell in cells(study)}
    config = run.configured(study, by_name["pe-image@inf-seed1"])
    assert (config.method, config.privacy.epsilon, config.runtime.seed) == ("pe-image", math.inf, 1)
    assert config.evolution.candidates == 20 and config.evolution.lookahead == 1
    assert run.configured(study, by_name["voting--caption@1-seed0"]).evolution.voting == "caption"
    open_ones = {name for name, cell in by_name.items() if "privacy.allow_not_private=true" in cell.settings}
    assert {name.split("-seed")[0] for name in open_ones} == {"spti@inf", "pe-image@inf"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("over: random", "over: rondom", r"ratios.spti over random: no cell is 'rondom'; there are pe-image@1, "),
        ("size: 20", "sise: 20", r"sise: Extra inputs|size: Field required"),
    ],
)
def test_a_study_that_can_not_be_is_refused_in_one_line(study_file, before, after, said):
    study_file.write_text(study_file.read_text().replace(before, after))
    with pytest.raises(ConfigError, match=said):
        read_study(study_file)


@pytest.mark.parametrize(
    "name", ["curve", "curve-settings", "ablations", "shifted", "shifted-settings", "shifted-labelled"]
)
def test_the_studies_own_files_are_valid_in_every_cell(name):
    study = read_study(ROOT / "jobs" / f"{name}.yaml")
    study = study.model_copy(update={"config": ROOT / study.config})
    for cell in cells(study):
        assert run.configured(study, cell).runtime.seed == cell.seed


def test_ablations_start_from_the_settings_of_the_curve_and_are_judged_alike():
    usual, ablated = (read_study(ROOT / "jobs" / f"{name}.yaml") for name in ("curve", "ablations"))

    def own(study):
        return {setting for setting in study.set if setting.split("=")[0] not in ("dataset.id", "ledger.path")}

    assert own(usual) == own(ablated)
    assert (usual.config, usual.judges, usual.size) == (ablated.config, ablated.judges, ablated.size)


def test_what_is_measured_is_not_run_again_and_one_failure_stops_no_other(
    study_file, commands, monkeypatch, tmp_path, capsys
):
    given, values = commands
    values |= {"random": 8.0, "spti@1": None}
    work = tmp_path / "work"
    arguments = ("--study", study_file, "--work", work, "--only", "ratios")
    assert call(monkeypatch, *arguments) == 1
    told = capsys.readouterr()
    assert "random-seed1: measured" in told.out and "spti@1-seed0: spti run failed" in told.err
    assert "NOT THERE YET: spti@1-seed0" in (work / "report.md").read_text()
    assert (work.stat().st_mode & 0o777) == 0o700

    values["spti@1"] = 4.0
    given.clear()
    assert call(monkeypatch, *arguments) == 0
    assert {Path(arguments[1]).name.rpartition("-")[0] for arguments in given if arguments[0] == "evaluate"} == {
        "spti@1-seed0",
        "spti@1-seed1",
    }
    text = (work / "report.md").read_text()
    assert "| spti over random | 0.529 | <= 0.75 | met |" in text  # medians of (4, 5) and (8, 9)
    assert text.startswith("# Methods compared\n\nINTERNAL: ")
    assert all((work / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("curve", "generations"))
    given.clear()
    assert call(monkeypatch, *arguments) == 0 and not given
    assert call(monkeypatch, *arguments[:4], "--only", "report") == 0 and not given


def test_what_was_measured_elsewhere_is_not_run_again_unless_other_settings_judges_or_size_are_asked_for(
    study_file, commands, monkeypatch, tmp_path
):
    given, values = commands
    values |= {"random": 8.0, "spti@1": 4.0}
    here, there = tmp_path / "here", tmp_path / "there"
    ratios = ("--study", study_file, "--only", "ratios")
    assert call(monkeypatch, *ratios, "--work", here) == 0
    there.mkdir()
    (there / "figures.json").write_bytes((here / "figures.json").read_bytes())
    given.clear()
    assert call(monkeypatch, *ratios, "--work", there) == 0 and not given
    for name in ("figures.json", "report.md"):
        assert (there / name).read_text().replace(str(there), str(here)) == (here / name).read_text()

    for before, after in (
        ("size: 20", "size: 30"),
        ("candidates=20", "candidates=21"),
        ("size: 20", "judges: [a]\nsize: 20"),
    ):
        changed = study_file.with_name("changed.yaml")
        changed.write_text(study_file.read_text().replace(before, after))
        other = tmp_path / after[-5:]
        other.mkdir()
        (other / "figures.json").write_bytes((here / "figures.json").read_bytes())
        given.clear()
        assert call(monkeypatch, "--study", changed, "--only", "ratios", "--work", other) == 0
        assert len([arguments for arguments in given if arguments[0] == "run"]) == 4


def test_a_report_of_another_study_in_the_same_folder_loses_no_recorded_figures(
    study_file, commands, monkeypatch, tmp_path
):
    values = commands[1]
    values |= {"random": 8.0, "spti@1": 4.0}
    here, there = tmp_path / "here", tmp_path / "there"
    assert call(monkeypatch, "--study", study_file, "--only", "ratios", "--work", here) == 0
    there.mkdir()
    (there / "figures.json").write_bytes((here / "figures.json").read_bytes())
    before = json.loads((there / "figures.json").read_text())["cells"]
    changed = study_file.with_name("changed.yaml")
    changed.write_text(study_file.read_text().replace("size: 20", "size: 30"))
    assert call(monkeypatch, "--study", changed, "--only", "report", "--work", there) == 0
    assert len(before) == 4 and json.loads((there / "figures.json").read_text())["cells"] == before
    assert "NOT THERE YET: random-seed0" in (there / "report.md").read_text()


def test_figures_of_another_version_are_refused_in_one_line_and_kept(
    study_file, commands, monkeypatch, tmp_path, capsys
):
    old = tmp_path / "figures.json"
    old.write_text('{"cells": {"random-seed0": {"release": []}}}')
    assert call(monkeypatch, "--study", study_file, "--work", tmp_path) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"curve: {old} is not of this version of jobs.curve") and told.count("\n") == 1
    assert "random-seed0" in old.read_text()


def test_named_groups_and_seeds_alone_are_run_and_unknown_ones_refused(
    study_file, commands, monkeypatch, tmp_path, capsys
):
    given, values = commands
    values["random"] = 8.0
    arguments = ("--study", study_file, "--work", tmp_path / "work")
    assert call(monkeypatch, *arguments, "--groups", "random", "--seeds", 1) == 0
    evaluated = [Path(arguments[1]).name for arguments in given if arguments[0] == "evaluate"]
    assert [name.rpartition("-")[0] for name in evaluated] == ["random-seed1"]
    assert call(monkeypatch, *arguments, "--groups", "rondom") == 2
    assert capsys.readouterr().err.startswith("curve: --groups rondom: there are pe-image@1, ")


def test_every_evaluation_of_a_study_shares_the_embeddings_of_its_private_sets(study, commands, tmp_path):
    given, values = commands
    values |= {"random": 8.0, "spti@1": 4.0}
    for cell in cells(study)[:4]:
        run.measure(study, cell, tmp_path)
    evaluations = [arguments for arguments in given if arguments[0] == "evaluate"]
    caches = {arguments[arguments.index("--cache") + 1] for arguments in evaluations}
    assert len(evaluations) > 4 and caches == {str(tmp_path / "private-references")}


def test_classifiers_of_a_studys_releases_are_tested_on_its_held_out_images(study, commands, tmp_path):
    given, values = commands
    values |= {"random": 8.0, "spti@1": 4.0}
    cell = next(cell for cell in cells(study) if cell.group == "spti@1")
    run.measure(study, cell, tmp_path)
    assert not any("--held-out" in arguments for arguments in given)
    tested = study.model_copy(update={"held_out": "other.parquet"})
    assert run.there(tested, cell, tmp_path) is None
    run.measure(tested, cell, tmp_path)
    (release,) = (arguments for arguments in given if "--held-out" in arguments)
    assert release[release.index("--held-out") + 1] == "other.parquet" and "--size" in release
    figures = run.there(tested, cell, tmp_path)
    recorded = entry(tested, cell, figures)
    assert figures_of(recorded, tested, cell) and figures_of(recorded, study, cell) is None


def test_what_labels_teach_is_a_column_where_it_was_measured(study):
    cell = next(cell for cell in cells(study) if cell.group == "spti@1")
    result = evaluation(1.0)
    assert "downstream_ratio" not in report(study, {cell: run.Figures([result], [], 1.0)}, [], "the command")
    result["metrics"].append({"name": "downstream_ratio", "value": 0.8, "yardstick": 1.0})
    text = report(study, {cell: run.Figures([result], [], 1.0)}, [], "the command")
    assert "| clip_score | downstream_ratio |" in text and "| 0.8 |" in text and "logistic regression" in text


def test_an_evaluation_by_other_judges_is_made_anew_without_another_run(study, commands, tmp_path):
    given, values = commands
    values["random"] = 8.0
    cell = next(cell for cell in cells(study) if cell.group == "random")
    run.measure(study, cell, tmp_path)
    assert [arguments[0] for arguments in given] == ["run", "evaluate"]
    other = study.model_copy(update={"judges": ("bundled:sticker-clip",)})
    assert run.there(other, cell, tmp_path) is None
    run.measure(other, cell, tmp_path)
    assert [arguments[0] for arguments in given] == ["run", "evaluate", "evaluate"]


def test_figures_of_other_settings_are_not_shown_whether_they_lie_here_or_were_recorded(
    study_file, commands, monkeypatch, tmp_path, capsys
):
    _, values = commands
    values |= {"random": 8.0}
    arguments = ("--study", study_file, "--work", tmp_path / "work", "--groups", "random")
    assert call(monkeypatch, *arguments) == 0
    first = json.loads((tmp_path / "work" / "figures.json").read_text())["cells"]
    # The study says nothing else than before; the configuration that it names does.
    other = tmp_path / "other.yaml"
    other.write_text((ROOT / "jobs" / "stickers.yaml").read_text().replace("survivors: 0.65", "survivors: 0.5"))
    study_file.write_text(study_file.read_text().replace(str(ROOT / "jobs" / "stickers.yaml"), str(other)))
    values["random"] = 6.0
    assert call(monkeypatch, *arguments, "--only", "report") == 0
    assert "NOT THERE YET: " in (tmp_path / "work" / "report.md").read_text()
    assert call(monkeypatch, *arguments) == 0 and "2 cells, 0 are there" in capsys.readouterr().out
    again = json.loads((tmp_path / "work" / "figures.json").read_text())["cells"]
    assert all(first[name]["settings"] == again[name]["settings"] for name in first)
    assert all(first[name]["settings_hash"] != again[name]["settings_hash"] for name in first)
    assert [again[f"random-seed{seed}"]["release"][0]["metrics"][0]["value"] for seed in (0, 1)] == [6.0, 7.0]


def test_figures_are_shown_where_a_study_says_the_same_in_other_words(study_file, commands, monkeypatch, tmp_path):
    _, values = commands
    values |= {"random": 8.0}
    arguments = ("--study", study_file, "--work", tmp_path / "work", "--groups", "random")
    assert call(monkeypatch, *arguments) == 0
    # The configuration says so already.
    study_file.write_text(study_file.read_text().replace("set: [", "set: [prompts.min_words=2, ", 1))
    assert call(monkeypatch, *arguments, "--only", "report") == 0
    assert "random" not in (tmp_path / "work" / "report.md").read_text().split("NOT THERE YET: ")[1].splitlines()[0]


@pytest.mark.parametrize("name", ["shifted"])
def test_what_was_measured_is_found_by_the_settings_of_its_study_as_they_are_now(name):
    """A new default would leave a study without its figures, unless the study says what it was measured with."""
    study = read_study(ROOT / "jobs" / f"{name}.yaml")
    recorded = read_recorded(ROOT / "jobs" / "results" / name / "figures.json")
    found = {
        cell.folder
        for cell in cells(study)
        if cell.folder in recorded and figures_of(recorded[cell.folder], study, cell)
    }
    assert recorded and found == set(recorded)


def test_figures_of_a_version_that_noted_no_settings_of_the_configuration_are_kept_and_not_used(
    study_file, commands, monkeypatch, tmp_path
):
    _, values = commands
    values["random"] = 8.0
    arguments = ("--study", study_file, "--work", tmp_path, "--groups", "random")
    assert call(monkeypatch, *arguments) == 0
    document = json.loads((tmp_path / "figures.json").read_text())
    for cell in document["cells"].values():
        del cell["settings_hash"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "figures.json").write_text(json.dumps(document))
    assert call(monkeypatch, *arguments[:2], "--work", elsewhere, "--only", "report") == 0
    assert "NOT THERE YET: " in (elsewhere / "report.md").read_text()
    assert json.loads((elsewhere / "figures.json").read_text())["cells"] == document["cells"]


def test_ctrl_c_waits_for_the_command_to_end_by_itself(tmp_path):
    """As from a terminal, the signal reaches the command too."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (time.sleep(1), open('ended', 'w').close(), sys.exit(1)))\n"
        "open('begun', 'w').close()\n"
        "time.sleep(60)\n"
    )
    study = (
        "import sys, threading, os, time, signal, _thread\n"
        "from jobs.sweep.run import _ended\n"
        "def stop():\n"
        "    while not os.path.exists('begun'): time.sleep(0.01)\n"
        "    os.killpg(0, signal.SIGINT)\n"
        "threading.Thread(target=stop).start()\n"
        f"_ended([sys.executable, '-c', {program!r}], open('log', 'w'))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", study], cwd=tmp_path, env=environment, capture_output=True, start_new_session=True
    )
    assert b"KeyboardInterrupt" in done.stderr and (tmp_path / "ended").exists()


def test_a_study_of_several_sets_does_everything_on_each_and_reports_them_apart(
    study_file, commands, monkeypatch, tmp_path
):
    _, values = commands
    text = study_file.read_text().replace(
        "seeds: [0, 1]", "sets: {hats: [dataset.id=hats], cats: [dataset.id=cats]}\nseeds: [0]"
    )
    study_file.write_text(text)
    study = read_study(study_file)
    assert {cell.folder for cell in cells(study) if cell.group == "random"} == {
        "hats--random-seed0",
        "cats--random-seed0",
    }
    for cell in cells(study):
        assert run.configured(study, cell).dataset.id == cell.subject
    values |= {"hats--random": 8.0, "cats--random": 6.0}
    work = tmp_path / "work"
    assert call(monkeypatch, "--study", study_file, "--work", work, "--groups", "random") == 0
    report = (work / "report.md").read_text()
    hats, cats = report.partition("# hats\n")[2].split("# cats\n")
    assert "| random | 1 | " in hats and " 8 |" in hats and " 6 |" in cats


def test_the_share_of_the_gap_is_0_at_generation_0_and_1_at_renders_of_the_captions(study):
    def figures(value):
        metrics = [{"name": name, "value": value, "yardstick": 1.0} for name in ("frechet_infinity", "kid")]
        return run.Figures([{"judge": {"model": "other"}, "independent": True, "metrics": metrics}], [], 1.0)

    def measured(values):
        made = [Cell(group, None, seed, ()) for group in values for seed in range(len(values[group]))]
        return {cell: figures(values[cell.group][cell.seed]) for cell in made}

    closed = gap_closed(measured({"random": [50.0], "captions": [10.0], "spti": [20.0, 30.0, 40.0]}), "other", "kid")
    assert (closed["random"].median, closed["captions"].median) == (0.0, 1.0)
    assert (closed["spti"].median, closed["spti"].low, closed["spti"].high) == (0.5, 0.25, 0.75)
    assert gap_closed(measured({"random": [50.0], "captions": [50.0], "spti": [20.0]}), "other", "kid") == {}
    assert gap_closed(measured({"random": [50.0], "spti": [20.0]}), "other", "kid") == {}
    # Generation 0 and captions vary by their seeds too.
    closed = gap_closed(measured({"random": [48.0, 50.0, 52.0], "captions": [10.0], "spti": [30.0]}), "other", "kid")
    assert (closed["spti"].median, closed["spti"].low, closed["spti"].high) == (0.5, 18 / 38, 22 / 42)
    overlap = {"random": [30.0, 50.0, 52.0], "captions": [10.0, 20.0, 40.0], "spti": [30.0]}
    assert "no range" in str(gap_closed(measured(overlap), "other", "kid")["spti"])
    text = report(study, measured({"random": [50.0], "captions": [10.0], "spti": [20.0]}), [], "the command")
    assert "| spti | 0.75 | 0.75 |" in text
    assert "no share of the gap is defined: `captions` is missing." in report(
        study, measured({"random": [5.0]}), [], "the command"
    )
    worse = report(study, measured({"random": [5.0], "captions": [6.0], "spti": [4.0]}), [], "the command")
    assert "no share of the gap is defined: renders of captions are not nearer than generation 0." in worse


def test_over_several_sets_the_share_is_a_median_with_its_range_and_words_where_it_is_not_defined(study):
    study = study.model_copy(update={"sets": {name: () for name in ("hats", "cats", "dogs", "maps")}})

    def figures(value):
        metrics = [{"name": name, "value": value, "yardstick": 1.0} for name in ("frechet_infinity", "kid")]
        return run.Figures([{"judge": {"model": "other"}, "independent": True, "metrics": metrics}], [], 1.0)

    distances = {"hats": (50.0, 10.0, 40.0), "cats": (50.0, 10.0, 30.0), "dogs": (50.0, 10.0, 10.0)}
    distances["maps"] = (50.0, 60.0, 30.0)
    measured = {
        Cell(group, None, 0, (), subject): figures(value)
        for subject, values in distances.items()
        for group, value in zip(("random", "captions", "spti"), values, strict=True)
    }
    together = report(study, measured, [], "the command").partition("# hats")[0]
    assert "| spti | 0.5 (0.25 to 1) | 3 | 0.5 (0.25 to 1) | 3 |" in together
    assert "By kid not defined on maps: renders of captions are not nearer than generation 0." in together


def test_of_many_missing_cells_it_is_said_how_many_there_are_of_each_group(study):
    everyone = [
        Cell("spti", epsilon, seed, (), f"set{i}") for epsilon in (1.0, 2.0) for seed in (0, 1) for i in range(4)
    ]
    measured = {cell: run.Figures([evaluation(1.0)], [], 1.0) for cell in everyone[:3]}
    text = report(study, measured, everyone[3:], "the command")
    assert "NOT THERE YET: 5 of 8 cells of spti@1, 8 of 8 cells of spti@2." in text
    assert "NOT THERE YET: set0--spti@1-seed0." in report(study, measured, everyone[:1], "the command")


def test_unbiased_figures_come_first_and_goals_by_another_distance_last(study):
    assert SHOWN[:3] == ("kid", "cmmd", "frechet_infinity") and CLOSED_BY[0] == "kid"
    assert type(study).model_fields["metric"].default == "frechet_infinity"
    cell = next(cell for cell in cells(study) if cell.group == "random")
    text = report(study, {cell: run.Figures([evaluation(1.0)], [], 1.0)}, [], "the command")
    assert text.index("| | seeds | kid | cmmd |") < text.index("| of medians | goal |")


def test_medians_are_over_seeds_and_by_one_judge(study):
    measured = {
        cell: run.Figures([evaluation(cell.seed + 1.0), evaluation(50.0, judge="voter", independent=False)], [], 1.0)
        for cell in cells(study)
        if cell.group in ("random", "spti@1")
    }
    groups = by_group(measured, "other", "frechet")
    assert groups["random"] == summarise([1.0, 2.0]) and groups["random"].median == 1.5
    assert ratio_of(groups, "spti@1", "random") == 1.0 and ratio_of(groups, "spti@1", "pe-image@1") is None
    text = report(study, measured, [], "the command")
    assert "| spti over random | 1.000 | <= 0.75 | NOT MET |" in text
    assert "## Judged by other\n" in text and "## Judged by voter, WHICH VOTED\n" in text

    captions = next(cell for cell in cells(study) if cell.group == "voting: caption@1")
    by_captions = [evaluation(1.0, independent=False), evaluation(1.0, judge="voter")]
    text = report(study, measured | {captions: run.Figures(by_captions, [], 1.0)}, [], "the command")
    assert "## Judged by other, WHICH VOTED in voting: caption@1\n" in text
    assert "## Judged by voter, WHICH VOTED but in voting: caption@1\n" in text
