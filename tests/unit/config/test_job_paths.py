"""Where a job's folder, data and ledger may be, on each route by which a run becomes one."""

import json
import shutil
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from jobs.synthesize import synthesize
from spti_ray.cli import app
from spti_ray.config import job_paths
from spti_ray.config.job_paths import check_here, check_may_move, check_places, check_shared, uploaded_package
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.driver import driver
from tests.snippets import DOCUMENTS
from tests.unit.conftest import BASE, config_with

ROOT = Path(__file__).parents[3]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """As the entry point of a job finds itself: in its unpacked working directory."""
    folder = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123456789abcdef"
    (folder / "jobs").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_0123456789abcdef.zip"}}))
    return folder


def write(folder: Path, **sections: dict) -> Path:
    file = folder / "my.yaml"
    file.write_text(yaml.safe_dump({**BASE, **sections}))
    return file


def by_run(config: Path, out: str, *settings: str) -> str:
    arguments = ["run", str(config), "--out", out, *(f"--set={setting}" for setting in settings)]
    result = CliRunner().invoke(app, arguments)
    return f"{result.exit_code} {result.stderr}"


def by_synthesize(config: Path, out: str, *settings: str, capsys=None) -> str:
    with pytest.raises(typer.Exit) as ended:
        synthesize(config, Path(out), list(settings))
    return f"{ended.value.exit_code} {capsys.readouterr().err}"


def by_the_driver(config: Path, out: str, *settings: str) -> str:
    """As `spti refine` and `spti_ray.run` start one."""
    with pytest.raises(ConfigError) as refused:
        driver.run_config(load_config(config, settings), Path(out))
    return f"2 spti: {refused.value}"


@pytest.fixture(params=["run", "synthesize", "driver"])
def refusal(request, capsys):
    if request.param == "synthesize":
        return lambda *given: by_synthesize(*given, capsys=capsys)
    return {"run": by_run, "driver": by_the_driver}[request.param]


@pytest.mark.parametrize(
    ("out", "settings", "told"),
    [
        ("runs/a", ("ledger.path=/dev/null/books",), "--out runs/a is relative"),
        ("/dev/null/runs/a", (), "ledger.path ledger is relative"),
        ("/dev/null/runs/a", ("ledger.path=~/books",), "ledger.path ~/books is relative"),
        ("/dev/null/runs/a", ("ledger.path=/dev/null/books", "data.path=scans"), "data.path scans is relative"),
        ("/dev/null/runs/a", ("ledger.path=s3a://bucket/x",), "write s3://"),
        ("s3://bucket/a", ("ledger.path=/dev/null/books",), "--out: is a folder on a disk"),
    ],
)
def test_in_a_job_what_would_go_with_it_is_refused_on_every_route(package, refusal, out, settings, told):
    line = refusal(write(package), out, *settings)
    assert line.startswith("2 spti: ") and told in line and line.rstrip("\n").count("\n") == 0
    assert sorted(path.name for path in package.iterdir()) == ["jobs", "my.yaml"], "nothing was begun"


@pytest.mark.parametrize("setting", ["--out", "data.path", "ledger.path"])
def test_in_a_job_no_absolute_path_leads_into_the_package_either(package, refusal, setting):
    (package / "x").mkdir()
    places = {
        "--out": "/dev/null/runs/a",
        "data.path": "/data",
        "ledger.path": "/dev/null/books",
        setting: f"{package}/jobs/../x",
    }
    line = refusal(write(package), places.pop("--out"), *(f"{name}={path}" for name, path in places.items()))
    assert f"{setting} {package}" in line and "is in the working directory that was uploaded" in line


def test_private_images_that_were_uploaded_are_told_without_their_names(package, tmp_path, refusal):
    data = tmp_path / "project" / "scans"
    (data / "ward").mkdir(parents=True)
    (data / "ward" / "smith.png").write_bytes(b"12345")
    shutil.copytree(data, package / "scans")
    settings = (f"data.path={data}", "ledger.path=/dev/null/books")
    line = refusal(write(package), "/dev/null/runs/a", *settings)
    assert line.startswith("2 spti: data.path: private images were uploaded") and "smith" not in line


def test_one_file_of_data_that_was_uploaded_is_found_and_other_files_of_its_name_are_not(package, tmp_path):
    data = tmp_path / "scans.parquet"
    data.write_bytes(b"12345")
    config = config_with(data__path=str(data), ledger__path="/dev/null/books")
    (package / "scans.parquet").write_bytes(b"another size")
    check_here(config, Path("/dev/null/runs/a"))
    shutil.copy(data, package / "scans.parquet")
    with pytest.raises(ConfigError, match="private images were uploaded"):
        check_here(config, Path("/dev/null/runs/a"))


def test_a_key_that_was_uploaded_is_told(package, tmp_path):
    common = {"data__path": "/dev/null/scans", "ledger__path": "/dev/null/books"}
    signed = {"certificate": "/etc/chain.pem", "key_file": "keys/signer.pem"}
    with pytest.raises(ConfigError, match="the key was uploaded with this job"):
        check_here(config_with(**common, release__provenance=signed), Path("/dev/null/runs/a"))
    elsewhere = signed | {"key_file": str(tmp_path / "signer.pem")}
    check_here(config_with(**common, release__provenance=elsewhere), Path("/dev/null/runs/a"))


def test_a_run_folder_with_its_internal_one_that_was_uploaded_is_told(package, refusal):
    (package / "runs" / "old" / "internal").mkdir(parents=True)
    (package / "runs" / "old" / "run.yaml").write_text("run: x")
    line = refusal(write(package), "/dev/null/runs/a", "ledger.path=/dev/null/books")
    assert "holds the internal folder of a run" in line


def test_a_package_without_anything_private_and_places_that_outlive_the_job_are_taken(package, tmp_path):
    (tmp_path / "data").mkdir()
    for data in (str(tmp_path / "data"), "s3://bucket/data", "bundled:stickers"):
        for ledger in ("/dev/null/books", "s3://bucket/books"):
            check_here(config_with(data__path=data, ledger__path=ledger), Path("/dev/null/runs/a"))


def test_a_job_is_known_by_its_folder_alone_and_by_its_environment_alone(package, monkeypatch, tmp_path):
    config = config_with()
    monkeypatch.delenv(JOB)
    (package / "jobs" / "deeper").mkdir()
    monkeypatch.chdir(package / "jobs" / "deeper")
    assert uploaded_package() == package
    with pytest.raises(ConfigError, match="is relative"):
        check_here(config, Path("a"))
    monkeypatch.chdir(tmp_path)
    assert uploaded_package() is None
    check_here(config, Path("a"))  # no job: on one's own machine all may be relative
    monkeypatch.setenv(JOB, "{}")
    with pytest.raises(ConfigError, match="is relative"):
        check_here(config, Path("a"))
    assert uploaded_package() is None
    monkeypatch.setenv(JOB, "{'not': json")
    assert uploaded_package() == tmp_path


def test_the_run_that_one_goes_on_from_must_be_found_too():
    config = config_with(ledger__path="/dev/null/books", origin={"run": "r", "path": "runs/a"})
    with pytest.raises(ConfigError, match=r"^origin\.path runs/a is relative"):
        check_shared(config, "/runs/b")


def test_what_comes_with_the_package_is_data_and_no_ledger():
    for route in (check_places, lambda config: check_shared(config, "/dev/null/runs/a")):
        with pytest.raises(ConfigError, match="ledger.path must be a folder or a URL"):
            route(config_with(ledger__path="bundled:stickers"))


def test_credentials_are_refused_before_anything_is_written_down(tmp_path):
    file = write(tmp_path, data={"path": "s3://key:sEcReT@bucket/x"})
    for arguments in (("run", str(file), "--out", str(tmp_path / "out")), ("plan", str(file))):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and "data.path" in result.stderr and "sEcReT" not in result.output + result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["ray://me:sEcReT@host:1", "http://me:sEcReT@host:1"])
def test_credentials_in_the_address_of_ray_are_refused_too(tmp_path, address):
    file = write(tmp_path)
    for arguments in (("run", str(file), "--out", str(tmp_path / "out")), ("plan", str(file))):
        result = CliRunner().invoke(app, [*arguments, "--set", f"runtime.address={address}"])
        assert result.exit_code == 2 and result.stderr.startswith("spti: runtime.address: ")
        assert "sEcReT" not in result.output + result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "{}", "b"),
        ("plan", "my.yaml", "--rates", "{}"),
        ("status", "{}"),
        ("verify", "{}"),
        ("run", "{}", "--out", "a"),
        ("refine", "{}", "--out", "a"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_url_where_a_path_belongs_is_told_without_credentials(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    result = CliRunner().invoke(app, [part.format("s3://AKIA:sEcReT@bucket/x") for part in arguments])
    assert result.exit_code and "s3:" in result.stderr and "sEcReT" not in result.output + result.stderr


def job_commands() -> list[tuple[str, list[str]]]:
    """The commands in the documents by which `jobs/synthesize.py` and `spti submit` are started."""
    found = []
    for path in [*DOCUMENTS, ROOT / "jobs" / "synthesize.py"]:
        text = path.read_text(encoding="utf-8").replace("\\\\\n", " ").replace("\\\n", " ")
        for line in text.replace("`", "\n").splitlines():
            words = line.split()
            if {"submit", "--out"} <= set(words) and any(word.endswith(".yaml") for word in words):
                found.append((str(path), words))
    return found


def test_the_documented_commands_pass_with_the_job_files_of_the_repository():
    commands = job_commands()
    assert {"ray-cluster.md", "synthesize.py"} <= {Path(where).name for where, _ in commands}
    assert len([words for _, words in commands if "jobs/stickers.yaml" in words]) > 1
    for where, words in commands:
        config = next(word for word in words if word.endswith(".yaml"))
        settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        if (ROOT / config).is_file():
            check_shared(load_config(ROOT / config, settings), words[words.index("--out") + 1])
        else:
            assert words[words.index("--out") + 1].startswith("/"), where


@pytest.mark.parametrize("file", sorted((ROOT / "jobs" / "paper").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_presets_for_clusters_are_job_files_as_they_are(file):
    check_shared(load_config(file), "/dev/null/runs/a")


@pytest.mark.parametrize("local", ["--out", "ledger.path"])
def test_a_driver_that_may_move_has_its_folder_and_ledger_where_other_nodes_see_them(tmp_path, monkeypatch, local):
    moving = {"runtime__driver": {"labels": {"pool": "cpu"}}}
    kinds = {"/shared": "nfs4", "/disk": "ext4"}
    monkeypatch.setattr(job_paths, "kind_of_volume", lambda path: kinds[f"/{path.parts[1]}"])
    here, there = Path("/disk/x"), Path("/shared/x")
    check_may_move(config_with(**moving, ledger__path=str(there)), there)
    check_may_move(config_with(**moving, ledger__path="s3://bucket/ledgers"), there)
    ledger, out = (here, there) if local == "ledger.path" else (there, here)
    with pytest.raises(ConfigError, match=f"{local} /disk/x is on a disk of one node \\(ext4\\)"):
        check_may_move(config_with(**moving, ledger__path=str(ledger)), out)


def test_the_driver_is_not_let_onto_spot_capacity():
    with pytest.raises(ValueError, match="not to be on spot capacity"):
        config_with(runtime__driver={"labels": {"ray.io/market-type": "spot"}})
