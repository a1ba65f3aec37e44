"""What a diffusers pipeline needs beside its own files: packages, and a text encoder that its authors leave out.

Known before anything is loaded. Imports no heavy library.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec

from spti_ray.config import EngineConfig
from spti_ray.models.installed_source import class_file, class_in, strings_in
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.pipeline_classes import pipeline_class, text_to_image_class
from spti_ray.models.pipeline_files import PipelineFiles

APART = {"HiDreamImagePipeline": "4"}
"""Pipelines whose authors leave a text encoder to their users: the number of the encoder and its tokenizer.

`options.text_encoder` names its model; of other pipelines it names that of the first encoder.
"""


@functools.cache
def packages_of(name: str) -> tuple[str, ...]:
    """The packages beside torch and transformers without which diffusers does not have the pipeline."""
    # What diffusers has in its place then says it.
    file = class_file("diffusers", "utils", name)
    definition = class_in("diffusers", file, name) if file else None
    needed = strings_in(definition, "_backends") if definition else ()
    return tuple(package for package in needed if package not in ("torch", "transformers"))


def lacks_package(name: str) -> str | None:
    """What pipeline `name` needs that is not installed here, with what to do; None if it has all."""
    missing = [package for package in packages_of(name) if find_spec(package) is None]
    return f"{name} needs {missing[0]}, which is not installed: pip install {missing[0]}" if missing else None


def lacks_encoder(name: str, stored: bool, options: DiffusersOptions) -> str | None:
    """Why pipeline `name` lacks its text encoder that is given apart, with what to do; None if it lacks none.

    Args:
        name: Class of the pipeline.
        stored: Whether its checkpoint has that encoder.
        options: The renderer's.
    """
    if name not in APART or stored or options.text_encoder is not None:
        return None
    return (
        f"runtime.engines.renderer.options.text_encoder: is not set, but {name} takes a language model that its own "
        f"files lack (text_encoder_{APART[name]}): name it, such as meta-llama/Llama-3.1-8B-Instruct"
    )


def check_packages(config: EngineConfig) -> None:
    """Check that what a renderer's pipeline needs is installed on this machine.

    Raises:
        ValueError: it is not; one line.
    """
    name = pipeline_class(config)
    if name and (lacks := lacks_package(text_to_image_class(name) or name)):
        raise ValueError(f"runtime.engines.renderer.model: {lacks}")


def check_encoder(config: EngineConfig) -> None:
    """Check that a renderer's pipeline has all of its text encoders, where its class is known without a download.

    Raises:
        ValueError: it has not; one line that names the setting.
    """
    files, name = PipelineFiles.of(config), pipeline_class(config)
    if name is None:
        return
    name = text_to_image_class(name) or name
    stored = files.has(f"text_encoder_{APART.get(name, '')}")
    if lacks := lacks_encoder(name, stored, DiffusersOptions.model_validate(config.options)):
        raise ValueError(lacks)
