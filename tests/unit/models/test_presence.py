"""Models that can't be had are told in one line, after one question to the Hub at most."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub import HfApi, constants, errors

from spti_ray.config import EngineConfig
from spti_ray.errors import exit_code
from spti_ray.models.bundled import ModelNotFound
from spti_ray.models.factory import EMBEDDED, FAKE, build_engine
from spti_ray.models.presence import check_engine_model, check_judge, check_model

Asked = list[tuple[str, str | None]]


def answer(kind: type[errors.HfHubHTTPError], status: int = 404) -> errors.HfHubHTTPError:
    return kind("said the Hub", response=Mock(status_code=status, headers={}))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], Asked]:
    """Sets what the Hub answers; returns what it is asked. The cache is empty."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def answers(error: Exception | None) -> Asked:
        asked: Asked = []

        def model_info(self: HfApi, repo_id: str, *, revision: str | None = None, timeout: float) -> None:
            asked.append((repo_id, revision))
            if error is not None:
                raise error

        monkeypatch.setattr(HfApi, "model_info", model_info)
        return asked

    return answers


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("[Errno -2] Name or service not known"), "does not answer (ConnectionError)"),
        (TimeoutError("timed out"), "does not answer (TimeoutError)"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set; run `hf download org/model`"),
        (answer(errors.RepositoryNotFoundError), "there is no folder org/model, and the Hugging Face Hub has no such"),
        (answer(errors.GatedRepoError, 403), "accepted its terms"),
        (answer(errors.RevisionNotFoundError), "no revision v2 of org/model"),
    ],
)
def test_a_model_that_can_not_be_had_is_one_line_and_a_mistake_of_usage(hub, error, words):
    asked = hub(error)
    with pytest.raises(ModelNotFound) as told:
        check_model("embedder.model", "org/model", "v2")
    assert words in str(told.value) and str(told.value).startswith("embedder.model: ") and "\n" not in str(told.value)
    assert asked == [("org/model", "v2")] and exit_code(told.value) == 2


@pytest.mark.parametrize("error", [None, answer(errors.HfHubHTTPError, 503)])
def test_a_model_that_the_hub_knows_or_is_too_busy_to_say_is_left_to_its_library(hub, error):
    assert hub(error) == [] and check_model("x", "org/model") is None


def test_what_is_here_is_not_asked_about(hub, tmp_path, monkeypatch):
    asked = hub(AssertionError("asked"))
    snapshot = tmp_path / "cache" / "models--org--model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    (tmp_path / "mine").mkdir()
    for model in (
        "org/model",
        "org/model/denoiser.gguf",
        str(tmp_path / "mine"),
        "bundled:smollm2",
        "s3://bucket/model",
    ):
        check_model("x", model)
    for role, config in [*FAKE, *EMBEDDED]:
        check_engine_model(role, config)
    check_engine_model("x", EngineConfig(kind="my.module:Writer", model="mine/somewhere"))
    check_engine_model("x", EngineConfig(kind="vllm", model="a/b", options={"extra": {"download_dir": "/models"}}))
    monkeypatch.setenv("VLLM_USE_MODELSCOPE", "1")
    check_engine_model("x", EngineConfig(kind="vllm", model="a/b"))
    assert asked == []


@pytest.mark.parametrize("model", ["./missing", "/no/such/folder", "bundled:gpt", "no id at all/x/y"])
def test_a_name_that_none_has_is_told_without_a_question(hub, monkeypatch, model):
    monkeypatch.undo()
    with pytest.raises(ModelNotFound) as told:
        check_judge("--judge", model)
    assert str(told.value).startswith(f"--judge {model}: ") and "\n" not in str(told.value)


def test_every_model_that_an_engine_names_is_looked_for(hub):
    asked = hub(None)
    options = {"base": "org/base", "text_encoder": "org/encoder"}
    check_engine_model("x", EngineConfig(kind="diffusers", model="org/repo/file.gguf", options=options))
    assert asked == [("org/repo", None), ("org/encoder", None), ("org/base", None)]
    check_engine_model("x", EngineConfig(kind="vllm", model="org/model-GGUF:Q4_K_M"))
    assert asked[-1] == ("org/model-GGUF", None), "without the quantisation that builds of vLLM take after a name"
    check_judge("--judge", "dinov2")
    assert asked[-1] == ("facebook/dinov2-large", None)


def test_an_engine_is_refused_before_its_library_looks_for_its_model(hub):
    hub(ConnectionError("no network"))
    with pytest.raises(ModelNotFound, match=r"^runtime\.engines\.image_embedder\.model: org/model is not in the cache"):
        build_engine("image_embedder", EngineConfig(kind="vision", model="org/model"))


def test_a_judge_that_is_a_file_or_inceptions_file_that_is_not_there_is_told_by_its_name(tmp_path):
    file = tmp_path / "weights.safetensors"
    file.touch()
    for name, words in (
        (f"{file}", "is a file; name the folder that holds the model"),
        (f"inception:{tmp_path / 'nowhere.pt'}", "there is no such file; download inception-2015-12-05.pt"),
        ("inception", "names no file; download inception-2015-12-05.pt"),
    ):
        with pytest.raises(ModelNotFound) as told:
            check_judge("--judge", name)
        assert str(told.value).startswith(f"--judge {name}: {words}") and exit_code(told.value) == 2
    check_judge("--judge", f"inception:{file}")
