"""Whether the models that engines and judges name can be had, before a library looks for them for minutes.

What is here is not asked about: bundled models, folders, and what the Hugging Face cache holds. Of another model the
Hub is asked once. Imports no heavy library.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import SHORT_NAMES, ModelNotFound, check_there, is_inception, is_local
from spti_ray.models.weight_files import is_single_file

_FROM_THE_HUB = frozenset({
    "vllm", "vllm-vision", "diffusers", "image-to-text", "blip", "chat-vision", "vision", "clip-vision", "sentence",
    "clip-text",
})  # fmt: skip
"""Kinds of engines whose models are folders or on the Hub. Engines of the user's own may find theirs anywhere."""

_ELSEWHERE = ("download_dir", "load_format")
"""Arguments of vLLM (`options.extra`) by which a model comes from another place than the Hub's cache."""

_TIMEOUT_S = 10.0


def check_engine_model(where: str, config: EngineConfig) -> None:
    """Refuse an engine whose model, or another that it names in its options, can't be had from this process.

    Args:
        where: the engine's setting, such as `runtime.engines.writer`.
        config: the engine.

    Raises:
        ModelNotFound: one line that names the setting and says what to do.
    """
    if config.kind not in _FROM_THE_HUB or _is_elsewhere(config):
        return
    for setting, model, revision in _named(config):
        check_model(f"{where}.{setting}", model, revision)


def check_judge(option: str, name: str) -> None:
    """The same of a judge by its name, given by a command's option."""
    if is_inception(name):
        if not inception_file(name).is_file():
            raise ModelNotFound(f"{option} {name}: {no_inception(name)}")
        return
    check_model(f"{option} {name}", SHORT_NAMES.get(name, name))
    if is_local(name) and Path(name).expanduser().is_file():
        raise ModelNotFound(f"{option} {name}: is a file; name the folder that holds the model")


def no_inception(judge: str) -> str:
    """What to say of a judge's name `inception:FILE` whose file is not there."""
    what = "there is no such file" if judge.partition(":")[2] else "names no file"
    return (
        f"{what}; download inception-2015-12-05.pt from nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/"
        "metrics/ (TorchScript, needs no other package) and name it as inception:FILE"
    )


def inception_file(judge: str) -> Path:
    """The file that a judge's name `inception:FILE` names."""
    return Path(judge.removeprefix("inception").removeprefix(":")).expanduser()


def check_model(where: str, model: str, revision: str | None = None) -> None:
    """Refuse a model that is neither here nor on the Hub.

    Args:
        where: who names it, for the line.
        model: bundled, a folder, a Hugging Face id, or a file of a repository (`owner/name/FILE`).
        revision: of the repository.

    Raises:
        ModelNotFound: one line.
    """
    if is_local(model):
        try:
            check_there(model)
        except ModelNotFound as error:
            raise ModelNotFound(f"{where}: {error}") from None
        return
    if "://" in model:
        return  # of another store, which its library knows
    repository = "/".join(model.split("/")[:2]) if is_single_file(model) else model
    if not _is_cached(repository, revision) and (problem := _problem_on_hub(repository, revision)):
        raise ModelNotFound(f"{where}: {problem}")


def _named(config: EngineConfig) -> Iterator[tuple[str, str, str | None]]:
    repository, colon, quantisation = config.model.partition(":")
    if config.kind.startswith("vllm") and repository.count("/") == 1 and colon and "/" not in quantisation:
        yield "model", repository, config.revision  # builds of vLLM take owner/name:Q4_K_M
    else:
        yield "model", config.model, config.revision
    for option in ("text_encoder", "base"):
        if model := config.options.get(option):
            yield f"options.{option}", str(model), None


def _is_elsewhere(config: EngineConfig) -> bool:
    extra = config.options.get("extra") or {}
    return any(name in extra for name in _ELSEWHERE) or (
        config.kind.startswith("vllm") and bool(os.environ.get("VLLM_USE_MODELSCOPE"))
    )


def _is_cached(repository: str, revision: str | None) -> bool:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return any(Path(snapshot_download(repository, revision=revision, local_files_only=True)).iterdir())
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return False


def _problem_on_hub(repository: str, revision: str | None) -> str:
    """Why the Hub does not give a model, and what to do; empty if it knows it, or is too busy to say."""
    from huggingface_hub import HfApi, errors
    from huggingface_hub.constants import HF_HUB_CACHE

    of = f"revision {revision} of {repository}" if revision else repository
    do = f"run `hf download {repository}` where there is a network, or name a folder that holds the model"
    try:
        HfApi().model_info(repository, revision=revision, timeout=_TIMEOUT_S)
    except errors.HFValidationError:
        return f"there is no folder {repository}, and a Hugging Face id is owner/name; correct it"
    except errors.GatedRepoError:
        return f"{repository} is given only to those who accepted its terms; accept them on its page, and set HF_TOKEN"
    except errors.RevisionNotFoundError:
        return f"the Hugging Face Hub has no revision {revision} of {repository}; correct it"
    except errors.RepositoryNotFoundError:
        return (
            f"there is no folder {repository}, and the Hugging Face Hub has no such model, or not for everybody; "
            "correct the name, or set HF_TOKEN"
        )
    except errors.OfflineModeIsEnabled:
        return f"{of} is not in the cache ({HF_HUB_CACHE}), and HF_HUB_OFFLINE is set; {do}"
    except errors.HfHubHTTPError:
        return ""
    except Exception as error:  # noqa: BLE001 of any of the libraries below: nobody answered
        return (
            f"{of} is not in the cache ({HF_HUB_CACHE}), and the Hugging Face Hub does not answer "
            f"({type(error).__name__}); {do}"
        )
    return ""
