"""`options.extra` of vLLM's engines, checked without importing vLLM."""

import subprocess
import sys

import pytest

from spti_ray.config import EngineConfig
from spti_ray.models import installed_source
from spti_ray.models.factory import engines_config
from spti_ray.models.vllm_extra import check_extra

WHERE = "runtime.engines.writer"


def writer(kind="vllm", **extra):
    return EngineConfig(kind=kind, model="a/b", options={"extra": extra})


def test_arguments_that_the_installed_vllm_takes_are_taken():
    check_extra(WHERE, writer(max_num_batched_tokens=2048, quantization="fp8", enable_log_requests=True))
    check_extra(WHERE, writer("vllm-vision", mm_processor_kwargs={}, seed=3))
    check_extra(WHERE, writer())


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (writer(max_num_batched_token=1), r"takes no 'max_num_batched_token'.*max_num_batched_tokens"),
        (writer("vllm-vision", enable_log_requests=True), "takes no 'enable_log_requests'"),
    ],
)
def test_an_argument_that_the_installed_vllm_does_not_take_is_refused(config, line):
    with pytest.raises(ValueError, match=rf"^runtime\.engines\.writer\.options\.extra: the installed vLLM {line}"):
        check_extra(WHERE, config)


def test_without_vllm_here_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(installed_source, "module_source", lambda package, file: None)
    check_extra(WHERE, writer(anything=1))


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ({"tensor_parallel_size": 2}, "asks for 2"),
        ({"pipeline_parallel_size": 2}, "asks for 2"),
        ({"data_parallel_size": 4}, "asks for 4"),
        ({"prefill_context_parallel_size": 2, "tensor_parallel_size": 2}, "asks for 4"),
    ],
)
def test_parallel_sizes_that_want_more_gpus_than_given_are_refused(extra, line):
    settings = {"model": "a/b", "num_gpus": 1, "options": {"extra": extra}}
    with pytest.raises(ValueError, match=rf"^runtime\.engines\.writer\.num_gpus: is 1, but .*{line} GPU"):
        engines_config({"writer": settings})
    with pytest.raises(ValueError, match=r"^runtime\.engines\.captioner\.options\.extra: is \d, but a captioner in vL"):
        engines_config({"captioner": settings | {"kind": "vllm-vision"}})
    engines_config({"writer": settings | {"num_gpus": int(line.split()[-1])}})


@pytest.mark.parametrize("size", ["two", 0, 1.5, True])
def test_a_parallel_size_that_is_no_number_is_told_in_one_line(size):
    settings = {"model": "a/b", "options": {"extra": {"data_parallel_size": size}}}
    with pytest.raises(ValueError, match=r"^runtime\.engines\.writer\.options\.extra\.data_parallel_size: should be"):
        engines_config({"writer": settings})


@pytest.mark.slow
def test_the_source_names_the_arguments_that_the_imported_vllm_has():
    code = (
        "import dataclasses; from vllm.engine.arg_utils import AsyncEngineArgs, EngineArgs;"
        "from spti_ray.models.vllm_extra import _arguments;"
        "names = lambda c: {f.name for f in dataclasses.fields(c)};"
        "print(names(AsyncEngineArgs) == _arguments(True), names(EngineArgs) == _arguments(False))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split()[-2:] == ["True", "True"], run.stderr[-500:]
