"""What is refused of engines before anything starts."""

from __future__ import annotations

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.driver.driver import run_config
from spti_ray.models import gpus_here
from spti_ray.models.factory import FAKE
from spti_ray.planning import checks


def _with_gpus(make_config, num_gpus, executor="local"):
    engines = {"renderer": FAKE.renderer.model_dump() | {"num_gpus": num_gpus}}
    return make_config(runtime__engines=engines, runtime__executor=executor, runtime__seed=3)


@pytest.mark.parametrize(
    ("num_gpus", "there", "said"), [(1, 0, "is 1, but torch finds none here"), (2, 1, "is 2, but torch finds only 1")]
)
def test_a_local_run_whose_engine_wants_a_gpu_that_is_not_here_is_refused(
    make_config, monkeypatch, tmp_path, num_gpus, there, said
):
    monkeypatch.setattr(checks, "gpus_here", lambda: there)
    with pytest.raises(ConfigError, match=f"^runtime.engines.renderer.num_gpus: {said}"):
        run_config(_with_gpus(make_config, num_gpus), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_gpus_are_looked_for_only_where_an_engine_that_is_started_wants_one(make_config, monkeypatch):
    def refuse():
        raise AssertionError

    monkeypatch.setattr(checks, "gpus_here", refuse)
    checks.check_gpus(_with_gpus(make_config, 0), ("renderer",))
    checks.check_gpus(_with_gpus(make_config, 1), ("image_embedder",))
    checks.check_gpus(_with_gpus(make_config, 1, executor="ray"), ("renderer",))
    monkeypatch.setattr(checks, "gpus_here", lambda: 1)
    checks.check_gpus(_with_gpus(make_config, 0.5), ("renderer",))


def test_a_share_of_a_gpu_for_shards_is_refused_as_an_engines_is(make_config, monkeypatch):
    monkeypatch.setattr(checks, "gpus_here", lambda: 0)
    asked = {"runtime__executor": "local", "runtime__shard": {"num_gpus": 0.5}}
    with pytest.raises(ConfigError, match=r"^runtime\.shard\.num_gpus: is 0\.5, but torch finds none here") as caught:
        checks.check_gpus(make_config(**asked), ("renderer",))
    assert "\n" not in str(caught.value)
    checks.check_gpus(make_config(**asked, method="captions", privacy__allow_not_private=True), ("renderer",))
    monkeypatch.setattr(checks, "gpus_here", lambda: 1)
    checks.check_gpus(make_config(**asked), ("renderer",))


@pytest.mark.parametrize(("code", "count"), [("print('a warning'); print(3)", 3), ("print()", 0), ("1 / 0", 0)])
def test_what_torch_says_is_read_after_whatever_else_is_printed(monkeypatch, code, count):
    monkeypatch.setattr(gpus_here, "_COUNT", code)
    assert gpus_here.gpus_here() == count
