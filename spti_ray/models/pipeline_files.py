"""What the files of a diffusers checkpoint say of its pipeline, without loading it: its class and its parts' settings.

Only files that are here are read: a folder, a bundled model, or what the Hugging Face cache holds. Of a model that was
never downloaded the class is told by its name, where that is one of a known family. Imports no heavy library.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing, is_local, resolve_model
from spti_ray.models.weight_files import is_single_file

KNOWN = {
    "stabilityai/stable-diffusion-xl-base-1.0": "StableDiffusionXLPipeline",
    "stabilityai/sdxl-turbo": "StableDiffusionXLPipeline",
    "stabilityai/stable-diffusion-3.5-large": "StableDiffusion3Pipeline",
    "stabilityai/stable-diffusion-3.5-large-turbo": "StableDiffusion3Pipeline",
    "black-forest-labs/FLUX.1-schnell": "FluxPipeline",
    "black-forest-labs/FLUX.2-klein-4B": "Flux2KleinPipeline",
    "Tongyi-MAI/Z-Image-Turbo": "ZImagePipeline",
    "Qwen/Qwen-Image": "QwenImagePipeline",
}
"""Model: what its `model_index.json` names, of the models of the presets (package_data/engines/renderers.yaml)."""

_IN_PARTS = {f"HiDream-ai/HiDream-I1-{size}": "HiDreamImagePipeline" for size in ("Full", "Dev", "Fast")}
"""The same of models of no preset that lack a part, which planning has to ask for (`pipeline_needs`)."""

_FAMILIES = {
    "stable-diffusion-xl": "StableDiffusionXLPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "stable-diffusion-3": "StableDiffusion3Pipeline",
    "stable-diffusion": "StableDiffusionPipeline",
    "flux.2": "Flux2Pipeline",
    "flux": "FluxPipeline",
    "qwen-image": "QwenImagePipeline",
    "z-image": "ZImagePipeline",
    "pixart-sigma": "PixArtSigmaPipeline",
    "sana": "SanaPipeline",
    "hidream-i1": "HiDreamImagePipeline",
    "hunyuanimage-2": "HunyuanImagePipeline",
    "kolors": "KolorsPipeline",
}
"""Pipeline class by a part of another model's name, the first that fits: what it most likely is."""


@dataclass(frozen=True)
class PipelineFiles:
    """The files of one renderer's checkpoint.

    Attributes:
        class_name: of the pipeline, such as `FluxPipeline`; empty if nobody can tell.
        is_certain: whether the checkpoint says so, or it is known of this very model; else its name only suggests it.
    """

    model: str
    revision: str | None
    class_name: str
    is_certain: bool

    @classmethod
    def of(cls, config: EngineConfig) -> PipelineFiles:
        """Those of a renderer's model; of one that is a single file, those of its base."""
        model, revision = config.model, config.revision
        if is_single_file(model) and config.options.get("base"):
            model, revision = str(config.options["base"]), None
        index = _json(model, revision, "model_index.json")
        if index:
            return cls(model, revision, str(index.get("_class_name", "")), True)
        if known := (KNOWN | _IN_PARTS).get(model):
            return cls(model, revision, known, True)
        name = model.lower()
        family = "" if is_local(model) else next((f for f in _FAMILIES if f in name), "")
        return cls(model, revision, _FAMILIES.get(family, ""), False)

    def has(self, component: str) -> bool:
        """Whether the checkpoint stores a component; False if nobody can tell."""
        return stores(_json(self.model, self.revision, "model_index.json"), component)

    def settings(self, component: str) -> dict[str, Any]:
        """`component`/config.json; empty if it is not here."""
        return _json(self.model, self.revision, f"{component}/config.json")

    def path(self, name: str) -> Path | None:
        """A file of the checkpoint, if it is here."""
        return _path(self.model, self.revision, name)


def stores(index: dict[str, Any], component: str) -> bool:
    """Whether a checkpoint with this `model_index.json` has a component: [null, null] is none."""
    entry = index.get(component)
    return isinstance(entry, list | tuple) and any(entry)


def _json(model: str, revision: str | None, name: str) -> dict[str, Any]:
    path = _path(model, revision, name)
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _path(model: str, revision: str | None, name: str) -> Path | None:
    if is_local(model):
        try:
            path = Path(resolve_model(model)) / name
        except ModelMissing:
            return None
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, name, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
