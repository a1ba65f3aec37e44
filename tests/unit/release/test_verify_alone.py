"""`spti verify` without a ledger: what holds, what does not, and what nobody has proved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.certificate import certificate
from spti_ray.dp.ledger import Ledger
from spti_ray.release.checks import NotVerified
from spti_ray.release.verify_alone import verify_alone
from tests.unit.release.test_verify import finished

OLD = Path(__file__).parents[2] / "old_runs"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("made"))


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "published"))


def failures(release: Path) -> list[str]:
    return [check.field for check in verify_alone(release) if not check.holds]


def rewrite(release: Path, field: str, value: Any) -> None:
    path = release / "privacy.json"
    document = json.loads(path.read_text())
    *outer, name = field.split(".")
    inner = document
    for key in outer:
        inner = inner[key]
    inner[name] = value
    path.write_text(json.dumps(document))


def test_a_published_release_holds_and_what_only_the_ledger_proves_is_open(release: Path):
    assert failures(release) == []
    (left,) = [check for check in verify_alone(release) if check.open]
    assert left.field == "ledger" and "--ledger LEDGER" in left.detail
    done = CliRunner().invoke(app, ["verify", str(release), "--quiet"])
    lines = done.output.splitlines()
    assert done.exit_code == 0 and len(lines) == 2 and lines[0].startswith("?    ledger: "), "not even quiet hides it"
    assert lines[1].endswith("checks hold; NOT PROVED, for want of the ledger")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", 1.0),
        ("achieved_epsilon", 1.0),
        ("replace_one_epsilon", 1.0),
        ("attacker.advantage", 0.01),
        ("statement", "This release is (0.1, 1e-05)-differentially private for adding or removing any one record"),
        ("epsilon", float("nan")),
        ("epsilon", 10**400),
        ("epsilon", "2"),
    ],
)
def test_a_figure_that_its_noise_does_not_give_fails(release: Path, field: str, value: Any):
    rewrite(release, field, value)
    assert field in failures(release)
    assert CliRunner().invoke(app, ["verify", str(release)]).exit_code == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mechanism.sigma", 0),
        ("mechanism.sigma", 1e-300),
        ("mechanism.sigma", "2"),
        ("mechanism.sigma", True),
        ("mechanism.queries_planned", 10**12),
        ("mechanism.votes_per_record", True),
        ("mechanism", None),
        ("delta", 0.0),
        ("delta", 1e-300),
        ("delta", None),
        ("accountant", 99),
        ("accountant", None),
        ("parts", []),
        ("parts", [{"sigma": 2.0}]),
        ("parts", [{"sigma": 2.0, "votes_per_record": 1, "queries_planned": 1}] * 1000),
        ("parts", [{"sigma": 2e4, "votes_per_record": 1, "queries_planned": 2}]),
    ],
)
def test_noise_that_no_run_has_fails_at_once(release: Path, field: str, value: Any):
    rewrite(release, field, value)
    assert failures(release) == ["mechanism"]


def test_files_are_checked_as_with_the_ledger(release: Path):
    (release / "images" / "0.png").write_bytes(b"another")
    assert failures(release) == ["release.images on disk"]


def test_without_a_certificate_there_is_nothing_to_check(release: Path):
    (release / "privacy.json").unlink()
    with pytest.raises(NotVerified, match="nothing is guaranteed"):
        failures(release)


def test_a_release_in_its_runs_folder_is_proved_from_that_runs_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(OLD / "ab5e8e4", tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    for folder in ("finished", "finished/release"):
        done = CliRunner().invoke(app, ["verify", folder])
        assert done.exit_code == 0 and "NOT PROVED" not in done.output, done.output
    shutil.rmtree(tmp_path / "old" / "ledger")
    for folder in ("finished", "finished/release"):
        done = CliRunner().invoke(app, ["verify", folder])
        assert done.exit_code == 1 and "no ledger here" in done.stderr, "one that is lost is no mere want of one"


@pytest.mark.parametrize("run", ["finished", "continued"])
def test_releases_of_earlier_builds_hold_too(tmp_path: Path, run: str):
    release = Path(shutil.copytree(OLD / "ab5e8e4" / run / "release", tmp_path / "published"))
    checks = list(verify_alone(release))
    assert [check for check in checks if not check.holds] == []
    # Format 2 does not name the noise of the run that another one goes on from.
    assert [check.field for check in checks if check.open] == ["epsilon"] * (run == "continued") + ["ledger"]


@pytest.mark.parametrize("epsilons", [(2.0, 2.0), (1.0, 2.0)])
def test_figures_of_a_run_that_goes_on_are_those_of_all_parts(
    release: Path, tmp_path: Path, epsilons: tuple[float, ...]
):
    ledger = Ledger(tmp_path / "ledger", "ds")
    ledger.register(20.0, 1e-5)
    for run, origin, epsilon in zip(("a", "b"), ("", "a"), epsilons, strict=True):
        lease = ledger.open_run(run, calibrate(epsilon, 1e-5, 1, 2), "c", "n", True, origin=origin)
        for generation in range(2):
            lease.reserve(generation, "ab", 4, "v")
    path = release / "privacy.json"
    document = certificate(ledger.entries(), "b")
    assert document is not None and len(document["parts"]) == 2
    path.write_text(json.dumps(document | {"release": json.loads(path.read_text())["release"]}))
    assert failures(release) == []
    rewrite(release, "parts", document["parts"][1:])
    assert "achieved_epsilon" in failures(release)


def test_what_a_certificate_says_can_not_write_to_the_terminal_at_will(release: Path):
    rewrite(release, "audits", {"passed": True, "build": "x\x1b[2J\nok   everything"})
    done = CliRunner().invoke(app, ["verify", str(release)])
    assert done.exit_code == 1 and "\x1b" not in done.output and "\nok   everything" not in done.output
