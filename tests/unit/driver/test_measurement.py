"""`spti measure` by the command line: what it leaves, what it charges, and what a crash costs."""

from __future__ import annotations

import json
import shutil
import stat
from collections import Counter
from pathlib import Path

import pytest
import yaml

from spti_ray.config.loading import ConfigError
from spti_ray.dp.gate import Gate
from spti_ray.dp.history import history
from spti_ray.dp.joint_guarantee import joint_guarantee, recorded_plan
from spti_ray.dp.mechanism import OpenDPNoise
from spti_ray.driver import measurement
from spti_ray.driver.driver import run_config
from spti_ray.driver.measurement import Measurement
from spti_ray.models.factory import FAKE
from spti_ray.runs.measures import name_of
from spti_ray.runs.refinement import refined
from spti_ray.runtime.voter import ShardFailed
from tests.unit.driver.conftest import CANARY, NUM_EACH, Measured


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def test_a_figure_is_charged_once_told_with_an_interval_and_proved(measured: Measured, spti):
    """The fake embedder tells colours apart, but the fake renders of both labels have all colours."""
    before, task = measured.charges(), measured.task("accuracy", task="label_accuracy", epsilon=8.0, by_class=True)
    code, printed = spti("measure", measured.folder, "--task", task)
    folder = measured.folder / "measures" / "accuracy"
    assert code == 0 and "label_accuracy: " in printed and f"spti verify {folder} proves it" in printed
    answer = read(folder, "figure.json")
    counts = [answer["right"], answer["wrong"]]
    assert sum(counts) == pytest.approx(2 * NUM_EACH, abs=12), "noised, and of about so many records"
    assert answer["of_these"][0] <= answer["ratio"] <= answer["of_these"][1] and answer["facts"]["embedder_voted"]
    assert [row["label"] for row in answer["classes"]] == ["red", "blue"]
    assert measured.charges() == before + 1

    entries = measured.entries()
    code, again = spti("measure", measured.folder, "--task", task)
    assert code == 0 and printed.endswith(again) and measured.charges() == before + 1
    assert measured.entries() == entries, "a finished one is not even opened again"
    code, proof = spti("verify", folder)
    assert code == 0 and "ok   figure: " in proof and "ok   probe: the one that was answered" in proof
    assert spti("verify", measured.folder, "--quiet")[0] == 0, "the release's own certificate still holds"
    code, alone = spti("verify", shutil.copytree(folder, measured.tasks / "published"), "--quiet")
    assert code == 0 and "NOT PROVED" in alone
    code, _ = spti("export", measured.folder, "--format", "imagefolder", "--out", measured.tasks / "export")
    assert code == 0 and not list((measured.tasks / "export").rglob("figure.json"))


def test_the_certificate_has_the_epsilon_of_release_and_figure_together(measured: Measured, spti):
    task = measured.task("cover", task="coverage", epsilon=3.0, radius_quantile=0.9)
    code, planned = spti("measure", measured.folder, "--task", task, "--plan", "--json", "--private-records", 40)
    plan, charges = json.loads(planned), measured.charges()
    assert code == 0 and 0 < plan["half_width"] <= 0.5 and plan["cells"] == 2
    assert not (measured.folder / "measures" / "cover").exists(), "planning writes nothing"
    assert spti("measure", measured.folder, "--task", task)[0] == 0 and measured.charges() == charges + 1
    folder = measured.folder / "measures" / "cover"
    certificate, answer = read(folder, "privacy.json"), read(folder, "figure.json")
    (release,) = certificate["origin"]["runs"]
    assert release == read(measured.folder / "release", "privacy.json")["run"]["id"] == answer["facts"]["of"]
    assert certificate["mechanism"]["sigma"] == plan["sigma"] == answer["sigma"]
    assert certificate["parts"][1]["epsilon"] == 3.0 and certificate["delta"] == measured.config.privacy.delta
    assert certificate["epsilon"] == plan["epsilon_together"] > 3.0
    entries = measured.entries()
    run = next(past for past in history(entries) if past.run == certificate["run"]["id"])
    opened = next(e.event for e in entries if e.kind == "OPENED" and e.event.run == run.run)
    assert run.origin == release and run.votes_per_record == 1
    assert joint_guarantee(entries, run.run, recorded_plan(opened)).epsilon == certificate["epsilon"]


def test_another_embedder_may_answer_and_what_is_private_stays_in_the_runs_internal_folder(measured: Measured, spti):
    embedder = {"kind": "fake-image-embedder", "model": "SIMULATED, another", "batch_size": 3}
    task = measured.task("other", task="coverage", epsilon=1.0, radius=0.5, embedder=embedder)
    _, printed = spti("measure", measured.folder, "--task", task)
    folder, internal = measured.folder / "measures" / "other", measured.folder / "internal" / "measures" / "other"
    assert not read(folder, "figure.json")["facts"]["embedder_voted"]
    left = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert left == {"measure.yaml", "probe.safetensors", "generations", "figure.json", "privacy.json"}
    public = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()) + printed.encode()
    assert CANARY.encode() not in public and b"not an image" not in public
    assert stat.S_IMODE(internal.stat().st_mode) == 0o700 == stat.S_IMODE(internal.parent.stat().st_mode)
    assert (internal / "ingest.jsonl").exists() and not list(internal.glob("units"))


FAULTS = [  # where it is killed, what the next start does, charges in the end
    ("after_reserved", "refused", 1),
    ("after_draw", "refused", 1),
    ("after_artifact", "the same", 1),
    ("after_committed", "the same", 1),
]


class Killed(BaseException):
    """Stands for SIGKILL: nothing is settled after it."""


@pytest.mark.parametrize(("point", "then", "charged"), FAULTS)
def test_a_charge_is_answered_once_or_its_slot_is_burned(
    measured: Measured, quiet, spti, monkeypatch, point, then, charged
):
    task = measured.task(f"kill-{point}", task="coverage", epsilon=0.5, radius=0.5)
    folder, before, draws = measured.folder / "measures" / task.stem, measured.charges(), []

    class Noise(OpenDPNoise):
        def add_noise(self, counts_K, sigma):
            draws.append(super().add_noise(counts_K, sigma))
            return draws[-1]

    def killed(self: Gate, reason: str) -> None:
        if reason == point:
            raise Killed

    made = measurement.gate_of

    def gate_that_is_killed(*arguments):
        gate = made(*arguments)
        gate._fault = lambda at: killed(gate, at)
        return gate

    with monkeypatch.context() as patch:
        patch.setattr(measurement, "gate_of", gate_that_is_killed)
        with pytest.raises(Killed):
            Measurement(measured.folder, task).ask(quiet, Noise())
    assert measured.charges() == before + charged and not (folder / "figure.json").exists()
    code, printed = spti("measure", measured.folder, "--task", task)
    assert measured.charges() == before + charged and len(draws) <= 1, "nothing is drawn or charged again"
    if then == "refused":
        assert code == 3 and "its charge was made and its answer was lost" in printed
        assert not (folder / "figure.json").exists()
    else:
        assert code == 0
        answer = read(folder, "figure.json")
        assert [answer["right"], answer["wrong"]] == draws[0].tolist()
        assert spti("verify", folder, "--quiet")[0] == 0


def lost(*_):
    raise ShardFailed("shard 0: its actor died again and again")


def test_a_spare_slot_pays_for_the_answer_that_a_crash_lost(measured: Measured, quiet, spti, monkeypatch):
    task = measured.task("spare", task="coverage", epsilon=0.5, radius=0.5, spare_slots=1)
    before, asks = measured.charges(), Measurement(measured.folder, task)
    with monkeypatch.context() as patch:
        patch.setattr("spti_ray.runtime.voter.ShardVoter.answer", lost)
        with pytest.raises(ShardFailed):
            asks.ask(quiet)
    probe = (asks.folder.path / "probe.safetensors").read_bytes()
    assert spti("measure", measured.folder, "--task", task)[0] == 0
    assert measured.charges() == before + 2 and (asks.folder.path / "probe.safetensors").read_bytes() == probe
    certificate = read(asks.folder.path, "privacy.json")
    assert certificate["mechanism"]["burned_slots"] == 1 and certificate["parts"][1]["queries_planned"] == 2


def refused(measured: Measured, spti, *arguments: object) -> tuple[int, str]:
    """The exit code and the line of what is refused; nothing is charged then."""
    before = Counter(entry.kind for entry in measured.entries())
    code, printed = spti("measure", *arguments)
    lines = [line for line in printed.splitlines() if line.startswith("spti: ")]
    assert code and len(lines) == 1, printed
    assert Counter(entry.kind for entry in measured.entries()) == before
    return code, lines[0]


def test_what_can_not_be_asked_is_one_line_and_charges_nothing(measured: Measured, spti, tmp_path):
    ask = lambda **task: refused(measured, spti, measured.folder, "--task", measured.task("bad", **task))  # noqa: E731
    code, line = ask(task="coverage", epsilon=99.0, radius=0.5)
    assert code == 3 and "lifetime epsilon 60" in line and "the most that fits: epsilon=" in line
    code, line = ask(task="coverage", epsilon=1.0, radius=0.5, size=3)
    assert code == 2 and line.startswith(f"spti: {measured.tasks / 'bad.yaml'}: size: unknown key; known: epsilon, ")
    checkpoint = {"path": "x.safetensors", "classes": ["red", "green"]}
    code, line = ask(task="label_accuracy", epsilon=1.0, checkpoint=checkpoint)
    assert code == 2 and "must be the run's labels, red, blue, and are red, green" in line
    code, line = ask(task="coverage", epsilon=1e-4, radius=0.5)
    assert code == 2 and "beyond what can be certified" in line
    code, line = ask(task="coverage", epsilon=1.0, radius=0.5, embedder={"kind": "none"})
    assert code == 2 and line.startswith("spti: embedder.kind: 'none' is neither")
    code, line = refused(
        measured,
        spti,
        measured.folder,
        "--task",
        measured.task("a", task="coverage", epsilon=1.0, radius=0.5),
        "--name",
        "../a",
    )
    assert code == 2 and "--name '../a'" in line
    code, line = refused(measured, spti, measured.folder, "--task", tmp_path / "none.yaml")
    assert code == 2 and "no such task file" in line
    code, line = refused(
        measured, spti, tmp_path, "--task", measured.task("b", task="coverage", epsilon=1.0, radius=0.5)
    )
    assert code == 2 and "holds no run" in line
    assert not (measured.folder / "measures" / "a").exists()


def test_an_embedder_that_wants_a_gpu_that_is_not_here_is_refused_before_the_charge(
    measured: Measured, quiet, monkeypatch
):
    asked = Measurement(measured.folder, measured.task("gpu", task="coverage", epsilon=3.0, radius_quantile=0.9))
    wanted = FAKE.image_embedder.model_dump() | {"num_gpus": 1}
    engines = asked.config.runtime.model_copy(update={"engines": {"image_embedder": wanted}})
    asked.config = asked.config.model_copy(update={"runtime": engines})
    monkeypatch.setattr("spti_ray.planning.checks.gpus_here", lambda: 0)
    before = measured.charges()
    with pytest.raises(ConfigError, match=r"^runtime\.engines\.image_embedder\.num_gpus: is 1, but torch finds none"):
        asked.ask(quiet)
    assert measured.charges() == before


def test_a_checkpoint_that_does_not_fit_is_told_before_the_charge(measured: Measured, spti):
    checkpoint = {"path": "missing.safetensors", "classes": ["red", "blue"]}
    before, task = measured.charges(), measured.task("point", task="label_accuracy", epsilon=1.0, checkpoint=checkpoint)
    code, printed = spti("measure", measured.folder, "--task", task)
    assert (
        code == 2
        and "checkpoint.path: there is no file missing.safetensors" in printed
        and measured.charges() == before
    )


def test_a_task_that_was_refused_may_be_changed_and_one_that_was_asked_may_not(measured: Measured, spti):
    task = measured.task("change", task="coverage", epsilon=99.0, radius=0.5)
    assert spti("measure", measured.folder, "--task", task)[0] == 3
    task = measured.task("change", task="coverage", epsilon=0.5, radius=0.5)
    assert spti("measure", measured.folder, "--task", task)[0] == 0
    task = measured.task("change", task="coverage", epsilon=0.6, radius=0.5)
    assert "holds a measurement by another task" in refused(measured, spti, measured.folder, "--task", task)[1]
    assert "already there" not in spti("measure", measured.folder, "--task", task, "--name", "change-2", "--plan")[1]


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_is_refused_before_a_charge_leaves_nothing_but_its_lock(measured: Measured, spti):
    inside = {"internal/measures", "internal/measures/refused", "internal/measures/refused/driver.lock"}
    before = tree(measured.folder) | inside
    task = measured.task("refused", task="coverage", epsilon=99.0, radius=0.5)
    assert refused(measured, spti, measured.folder, "--task", task)[0] == 3
    assert tree(measured.folder) == before
    embedder = {"kind": "vision", "model": "./nowhere"}
    task = measured.task("refused", task="coverage", epsilon=1.0, radius=0.5, embedder=embedder)
    code, line = refused(measured, spti, measured.folder, "--task", task)
    assert code == 2 and line == (
        "spti: embedder.model: model folder './nowhere' does not exist: correct the path, or give a Hugging Face id"
    )
    assert tree(measured.folder) == before


def test_a_refusal_takes_nothing_of_a_measurement_that_another_ledger_knows(measured: Measured, spti):
    """What was measured was charged, also if the ledger was restored from before that."""
    task = measured.task("kept", task="coverage", epsilon=99.0, radius=0.5)
    folder = Measurement(measured.folder, task).folder
    (folder.path / "generations" / "00").mkdir(parents=True)
    (folder.internal / "views").mkdir()
    folder.path.joinpath("measure.yaml").write_text(
        yaml.safe_dump({"run": "f" * 16, "of": "x", "config_sha256": folder.config_sha256, "task": {}})
    )
    before = tree(measured.folder)
    assert refused(measured, spti, measured.folder, "--task", task)[0] == 3
    assert before <= tree(measured.folder)
    shutil.rmtree(folder.path)
    shutil.rmtree(folder.internal)


def test_a_measurement_that_is_not_finished_is_told_from_one_that_is_broken(
    measured: Measured, quiet, spti, monkeypatch
):
    task = measured.task("half", task="coverage", epsilon=0.5, radius=0.5)
    folder = measured.folder / "measures" / "half"
    with monkeypatch.context() as patch:
        patch.setattr("spti_ray.runtime.voter.ShardVoter.ready", lost)
        with pytest.raises(ShardFailed):
            Measurement(measured.folder, task).ask(quiet)
    code, line = spti("verify", folder)
    assert code == 1 and "an unfinished measurement, which has no figure.json yet" in line
    assert spti("measure", measured.folder, "--task", task)[0] == 0 and spti("verify", folder, "--quiet")[0] == 0
    figure = (folder / "figure.json").read_bytes()
    (folder / "figure.json").unlink()
    assert "has a certificate, but no figure.json" in spti("verify", folder)[1]
    (folder / "figure.json").write_bytes(figure)
    (folder / "privacy.json").unlink()
    assert "there is no certificate, so nothing is guaranteed" in spti("verify", folder)[1]
    (measured.folder / "measures" / "empty").mkdir()
    assert "holds no measurement: it was refused before it began" in spti("verify", folder.parent / "empty")[1]
    (folder.parent / "empty").rmdir()


def test_a_plan_of_what_is_answered_says_so_and_that_it_costs_nothing(measured: Measured, quiet, spti, monkeypatch):
    task = measured.task("planned", task="coverage", epsilon=0.5, radius=0.5)
    plan = lambda *more: spti("measure", measured.folder, "--task", task, "--plan", *more)  # noqa: E731
    assert "answered" not in plan()[1]
    with monkeypatch.context() as patch:
        patch.setattr(Measurement, "_write", lost)
        with pytest.raises(ShardFailed):
            Measurement(measured.folder, task).ask(quiet)
    code, lines = plan()
    assert code == 0 and "answered    its answer was drawn: the same command shows it again, and charges" in lines
    assert spti("measure", measured.folder, "--task", task)[0] == 0
    code, lines = plan()
    assert code == 0 and f"answered    its answer is in {measured.folder / 'measures' / 'planned'}: the same" in lines
    found = json.loads(plan("--json")[1])
    assert found["answered"] and found["queries_charged"] == 1 and not found["affordable"]
    assert found["lifetime_epsilon_after"] == found["lifetime_epsilon_spent"]
    measured.task("planned", task="coverage", epsilon=0.6, radius=0.5)
    code, line = plan()
    assert code == 2 and "holds a measurement by another task" in line, "which the command itself would refuse"


def test_a_plan_of_what_was_charged_and_lost_says_so(measured: Measured, quiet, spti, monkeypatch):
    task = measured.task("gone", task="coverage", epsilon=0.5, radius=0.5)
    with monkeypatch.context() as patch:
        patch.setattr("spti_ray.runtime.voter.ShardVoter.answer", lost)
        with pytest.raises(ShardFailed):
            Measurement(measured.folder, task).ask(quiet)
    assert (
        "LOST        it was charged, and its answer was lost"
        in spti("measure", measured.folder, "--task", task, "--plan")[1]
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [("accuracy.yaml", "accuracy"), ("my task.yaml", "my-task"), ("größe (2).yaml", "gr-e-2"), ("v1.2.yaml", "v1.2")],
)
def test_a_measurement_is_named_after_its_tasks_file(file, name):
    assert name_of(Path("tasks") / file) == name


def test_a_file_that_gives_no_name_is_told_and_not_a_name_that_nobody_gave(measured: Measured, spti):
    task = measured.task("问题", task="coverage", epsilon=0.5, radius=0.5)
    code, line = refused(measured, spti, measured.folder, "--task", task)
    assert code == 2 and line == f"spti: {task}: the measurement can't be named after this file; give it a --name"


def test_a_plan_is_told_in_lines_and_says_what_the_budget_refuses(measured: Measured, spti):
    task = measured.task("lines", task="label_accuracy", epsilon=2.0, by_class=True, spare_slots=1)
    code, lines = spti("measure", measured.folder, "--task", task, "--plan")
    assert code == 0 and "on each of 4 counts; 2 queries, of which one is needed, of k = 1" in lines
    assert "points to either side: 1 from " in lines and "or pass --private-records" in lines
    code, lines = spti("measure", measured.folder, "--task", task, "--plan", "--private-records", 5000)
    assert "points to either side with 5000 private records" in lines and "lifetime epsilon 60; " in lines
    task = measured.task("lines", task="coverage", epsilon=99.0, radius=0.1)
    code, lines = spti("measure", measured.folder, "--task", task, "--plan")
    assert code == 3 and "REFUSED     the budget does not cover it; the most that fits: epsilon=" in lines
    code, lines = spti("measure", measured.folder, "--task", task, "--private-records", 5)
    assert code == 2 and "--private-records is for --plan" in lines


def altered(measured: Measured, name: str, change) -> Path:
    """An unfinished or otherwise changed copy of the run."""
    copy = shutil.copytree(measured.folder, measured.tasks / name)
    change(copy)
    return copy


def test_a_run_that_has_no_certified_release_is_refused(measured: Measured, spti):
    task = measured.task("c", task="coverage", epsilon=1.0, radius=0.5)
    unfinished = altered(measured, "unfinished", lambda copy: (copy / "release" / "report.html").unlink())
    assert "the run is not finished" in refused(measured, spti, unfinished, "--task", task)[1]
    simulated = altered(measured, "simulated", lambda copy: (copy / "release" / "privacy.json").unlink())
    assert (
        "has no certificate to go on from: its noise was simulated"
        in refused(measured, spti, simulated, "--task", task)[1]
    )


def test_an_image_that_is_not_the_manifests_is_told_before_the_charge(measured: Measured, spti):
    copy = altered(measured, "other-image", lambda copy: next((copy / "release" / "images").iterdir()).write_bytes(b""))
    before, task = measured.charges(), measured.task("image", task="coverage", epsilon=0.5, radius=0.5)
    code, printed = spti("measure", copy, "--task", task)
    assert code == 1 and "is missing or not what the manifest says" in printed and measured.charges() == before


def test_a_run_without_labels_has_no_accuracy_of_labels(measured: Measured, spti):
    def without_labels(copy: Path) -> None:
        known = yaml.safe_load((copy / "run.yaml").read_text())
        known["config"]["evolution"]["labels"] = []
        (copy / "run.yaml").write_text(yaml.safe_dump(known))

    copy = altered(measured, "no-labels", without_labels)
    task = measured.task("d", task="label_accuracy", epsilon=1.0)
    assert "has none; use task: coverage" in refused(measured, spti, copy, "--task", task)[1]


def test_filters_of_the_release_do_not_refuse_the_embedder_of_a_task(measured: Measured, spti):
    """A filter that compares renders with texts needs embedders with one space; a measurement renders nothing."""

    def filtered(copy: Path) -> None:
        known = yaml.safe_load((copy / "run.yaml").read_text())
        known["config"]["release"]["filters"] = {"mismatch": True}
        (copy / "run.yaml").write_text(yaml.safe_dump(known))

    copy = altered(measured, "filtered", filtered)
    task = measured.task("judged", task="coverage", epsilon=1.0, radius=0.5)
    code, printed = spti("measure", copy, "--task", task, "--plan")
    assert code == 0 and "sigma" in printed, printed


def test_a_re_rendering_is_measured_as_what_was_made_of_its_runs_votes(measured: Measured, spti, quiet, tmp_path):
    run_config(refined(measured.folder, images=8), tmp_path / "again", quiet)
    task = measured.task("again", task="coverage", epsilon=0.5, radius=0.5)
    assert spti("measure", tmp_path / "again", "--task", task)[0] == 0
    certificate = read(tmp_path / "again" / "measures" / "again", "privacy.json")
    assert certificate["origin"]["runs"] == [read(measured.folder / "release", "privacy.json")["run"]["id"]]
    assert spti("verify", tmp_path / "again" / "measures" / "again", "--quiet")[0] == 0


def test_a_run_whose_images_nobody_voted_for_is_refused(measured: Measured, spti, quiet, tmp_path):
    baseline = measured.config.model_copy(update={"method": "random"})
    run_config(baseline, tmp_path / "random", quiet)
    task = measured.task("f", task="coverage", epsilon=0.5, radius=0.5)
    code, line = refused(measured, spti, tmp_path / "random", "--task", task)
    assert code == 2 and "has no release with a certificate from votes" in line
