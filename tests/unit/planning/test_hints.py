"""Settings that are valid and most likely not meant: refused of a new run, or pointed out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from spti_ray.config.identity import config_sha256, resolved
from spti_ray.config.loading import ConfigError
from spti_ray.driver.driver import run_config
from spti_ray.models.factory import OPTIONS
from spti_ray.planning.checks import check_new
from spti_ray.planning.hints import hints
from spti_ray.planning.plan import plan_summary
from spti_ray.planning.plan_text import plan_lines

GROUPS = (
    "data.group_column is set, but privacy.unit is record: single images would be protected, and groups would not; set "
    "privacy.unit: group, or leave data.group_column out"
)


def group_column(make_config: Any) -> Any:
    return make_config(data={"path": "bundled:stickers", "group_column": "who"})


def writer(**settings: Any) -> dict[str, Any]:
    return {"writer": {"kind": "openai", "model": "m", "options": {"base_url": "http://localhost/v1"} | settings}}


def test_groups_that_nothing_protects_are_refused_of_a_new_run(make_config: Any, tmp_path: Path):
    config = group_column(make_config)
    for start in (check_new, plan_summary, lambda config: run_config(config, tmp_path / "run")):
        with pytest.raises(ConfigError) as caught:
            start(config)
        assert str(caught.value) == GROUPS
    assert not (tmp_path / "run").exists()
    check_new(
        make_config(data={"path": "x", "group_column": "who"}, privacy={"epsilon": 1, "delta": 1e-5, "unit": "group"})
    )
    check_new(make_config(data={"path": "x", "group_column": "who"}, method="random"))


def test_a_run_that_was_begun_with_them_goes_on(make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = group_column(make_config)
    document = {"run": "r1", "config_sha256": config_sha256(config), "config": resolved(config)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document))

    def reached(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spti_ray.driver.driver.describe", reached)
    with pytest.raises(KeyboardInterrupt):
        run_config(config, tmp_path)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("max_tokns", "; did you mean 'max_tokens'?"),
        ("model", "; known: n, seed, temperature, top_p, max_tokens, stop"),
    ],
)
def test_a_field_that_is_never_sent_can_not_be_left_out(make_config: Any, name: str, end: str):
    with pytest.raises(ConfigError) as caught:
        check_new(make_config(runtime__engines=writer(leave_out=["seed", name])))
    assert str(caught.value) == f"runtime.engines.writer.options.leave_out: no field {name!r} is sent{end}"
    check_new(make_config(runtime__engines=writer(leave_out=list(OPTIONS["openai"].FIELDS))))


def test_delta_is_compared_with_the_number_of_records_that_was_stated(make_config: Any):
    config = make_config(privacy={"epsilon": 1.0, "delta": 1e-3})
    expected = (
        "privacy.delta 0.001 is not below 1 / 5000 (--private-records): at such a delta a mechanism may publish whole "
        "records; set it well below 0.0002"
    )
    assert list(hints(config, 5000)) == [expected]
    assert f"HINT        {expected}" in plan_lines(plan_summary(config, 5000))
    assert list(hints(config, 1000)) and not list(hints(config, 999)) and not list(hints(config))
    tuned = make_config(method="dp-finetune", privacy={"epsilon": 1.0, "delta": 1e-3})
    assert [line for line in hints(tuned) if "1 / 1000 (finetune.records_estimate)" in line]


@pytest.mark.parametrize(
    ("role", "model", "billions"),
    [
        ("writer", "meta-llama/Llama-3.1-8B-Instruct", 8),
        ("writer", "mistralai/Mixtral-8x7B-v0.1", 56),
        ("writer", "Qwen/Qwen3-30B-A3B", 30),
        ("renderer", "stabilityai/sdxl-turbo", 3.5),
        ("renderer", "black-forest-labs/FLUX.2-klein-4B", 4),
        ("writer", "HuggingFaceTB/SmolLM2-1.7B-Instruct", None),
        ("writer", "Qwen/Qwen3-0.6B", None),
        ("writer", "some/model-b4", None),
        ("renderer", "stabilityai/stable-diffusion-2-1", None),
    ],
)
def test_a_large_model_without_a_gpu_is_pointed_out(make_config: Any, role: str, model: str, billions: float | None):
    found = list(hints(make_config(runtime__engines={role: {"model": model}})))
    assert bool(found) == (billions is not None)
    if billions:
        assert found == [
            f"runtime.engines.{role}: {model} has about {billions:g} billion parameters ({billions * 2:.0f} GB) and "
            f"would run on the CPU; set runtime.engines.{role}.num_gpus: 1, or use a smaller model or an endpoint"
        ]
    assert not list(hints(make_config(runtime__engines={role: {"model": model, "num_gpus": 1}})))


def test_a_large_model_behind_an_endpoint_needs_no_gpu_here(make_config: Any):
    engines = writer()
    engines["writer"]["model"] = "meta-llama/Llama-3.1-70B-Instruct"
    assert not list(hints(make_config(runtime__engines=engines)))
