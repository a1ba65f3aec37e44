"""The part of fine-tuning that the driver uses without loading a model: prompts, errors, and the trained engine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from spti_ray.config import Config, EngineConfig
from spti_ray.config.loading import ConfigError
from spti_ray.types import SINGLE_LABEL

FINISHED = "finetune.json"
"""The file that is written last into a training's folder."""

_NEEDED = ("opacus", "peft")


class FinetuneFailed(RuntimeError):
    """Fine-tuning failed; one line that shows nothing private."""


class FolderBusy(FinetuneFailed):
    """Another process trains in the folder, perhaps one that is just ending."""


class UnfitPipeline(ValueError):
    """The renderer's model can't be fine-tuned; one public line says why."""


def require_trainer() -> None:
    """Raise ConfigError unless the libraries that train are installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"method: dp-finetune needs {' and '.join(missing)}, not installed here: add the extra `eval`, "
            "pip install 'spti-ray[eval]'"
        )


def label_prompts(config: Config) -> dict[str, str]:
    """The public text of each label: its hint or name and the domain, or the domain alone without labels."""
    if not config.evolution.labels:
        return {SINGLE_LABEL: config.prompts.domain}
    return {label.name: f"{label.text}, {config.prompts.domain}" for label in config.evolution.labels}


def trained_engine(renderer: EngineConfig, folder: Path) -> EngineConfig:
    """The renderer with the model that was trained in `folder`, in float32: smaller types lose small changes."""
    return renderer.model_copy(update={"model": str(folder / "model"), "revision": None, "dtype": "float32"})
