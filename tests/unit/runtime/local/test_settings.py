"""Where a local run is refused: on a cluster, or with what only Ray has. Each in one line."""

import pytest
from PIL import Image
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.identity import config_sha256
from spti_ray.config.job_paths import check_shared
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.models.factory import FAKE
from spti_ray.runtime.local.executor import LocalExecutor
from tests.local_runs import written
from tests.unit.conftest import BASE, config_with


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("address", "host:6379", "joins no cluster"), ("take_turns", ["writer", "renderer"], "takes turns")],
)
def test_settings_of_ray_are_refused(setting, value, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parse_config(BASE | {"runtime": {"engines": "fake", "executor": "local", setting: value}})
    assert "\n" not in str(caught.value) and "executor is local" in str(caught.value)


def test_a_cluster_named_by_the_environment_is_refused(monkeypatch):
    config = config_with(runtime__executor="local")
    for nowhere in ("", "local"):
        monkeypatch.setenv("RAY_ADDRESS", nowhere)
        LocalExecutor().check(config)
    monkeypatch.setenv("RAY_ADDRESS", "host:6379")
    with pytest.raises(ConfigError, match=r"runtime.executor: .* but RAY_ADDRESS is set") as caught:
        LocalExecutor().check(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ["submit", "{config}", "--out", "/runs/a", "--address", "http://127.0.0.1:9"],
        ["manifest", "render", "{config}", "--cluster", "cluster/example/cluster.yaml", "--out", "{out}"],
    ],
)
def test_it_is_not_for_a_cluster(command, tmp_path):
    config = config_with(runtime__executor="local", ledger__path="/ledger", data__path="/data")
    path = written(config, tmp_path / "run.yaml")
    done = CliRunner().invoke(app, [part.format(config=path, out=tmp_path / "k8s") for part in command])
    assert done.exit_code == 2 and not (tmp_path / "k8s").exists()
    assert "runtime.executor: is local" in done.output and done.output.count("\n") == 1
    with pytest.raises(ConfigError, match="runtime.executor: is local"):
        check_shared(config, "/runs/a")


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_model_that_is_not_there_is_told_before_anything_is_made(command, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    engines = {role: engine.model_dump() for role, engine in FAKE} | {
        "image_embedder": {"kind": "vision", "model": "./nowhere"}
    }
    config = config_with(
        runtime__executor="local",
        runtime__engines=engines,
        data__path=str(tmp_path / "images"),
        ledger__path=str(tmp_path / "ledger"),
    )
    path = written(config, tmp_path / "run.yaml")
    done = CliRunner().invoke(app, [command, str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and done.output == (
        "spti: runtime.engines.image_embedder.model: model folder './nowhere' does not exist: correct the path, or "
        "give a Hugging Face id\n"
    )
    assert not (tmp_path / "out").exists() and not (tmp_path / "ledger").exists()


def test_a_run_may_be_begun_on_one_executor_and_finished_on_the_other():
    assert config_sha256(config_with(runtime__executor="local")) == config_sha256(config_with())
