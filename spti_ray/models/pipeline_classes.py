"""Which pipeline of diffusers a model is and what that takes, before anything is loaded. Imports no heavy library.

A pipeline's class is in its `model_index.json`: in the model's folder, in the Hub's local cache, or for the models of
presets in `pipeline_files.KNOWN`. Nothing is downloaded; of another model nothing is known here, and a run of `pe-
image` tries one variation before anything is charged.
"""

from __future__ import annotations

import ast
import functools

from spti_ray.config import EngineConfig
from spti_ray.models.installed_source import class_file, class_in, module_source, parameters_of
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.pipeline_files import PipelineFiles
from spti_ray.models.weight_files import SINGLE_FILES, is_single_file

FIRST_GENERATOR_ALONE = frozenset({"GlmImagePipeline", "Ideogram4Pipeline"})
"""Pipelines that draw something of every image of a batch by its first generator: their images are made one at a time.

Of diffusers 0.42: GLM-Image's language model, which draws tokens first, and the prompt enhancer of Ideogram 4.
"""

ONE_AT_A_TIME = FIRST_GENERATOR_ALONE | {"HunyuanImagePipeline"}
"""Pipelines whose image of a text depends on what else is in its batch: these too are rendered one image at a time.

HunyuanImage guides a whole batch in another way as soon as one text of it has words in quotes, which it spells out.
"""

_AUTO = "pipelines/auto_pipeline.py"
_TEXT = "AUTO_TEXT2IMAGE_PIPELINES_MAPPING"
_IMAGE = "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING"


def pipeline_class(config: EngineConfig) -> str | None:
    """The class that a renderer's checkpoint names; None if that can't be known without a download.

    A class that a model's name only suggests is not enough to refuse it. None too for code of a repository's own.
    """
    files = PipelineFiles.of(config)
    return files.class_name if files.is_certain and files.class_name.isidentifier() else None


def text_to_image_class(name: str) -> str | None:
    """The class of diffusers' AutoPipelineForText2Image for a checkpoint of class `name`; None if it knows none."""
    return _of_task(_TEXT, name)


def image_to_image_class(name: str) -> str | None:
    """The class that varies images with the components of pipeline `name`; None if diffusers has none.

    It is that of diffusers' AutoPipelineForImage2Image or, where this does not list the pipeline, the one that is named
    as its image-to-image form is.
    """
    sibling = name.removesuffix("Pipeline") + "Img2ImgPipeline"
    return _of_task(_IMAGE, name) or (sibling if class_file("diffusers", "pipelines", sibling) else None)


@functools.cache
def call_parameters(name: str) -> frozenset[str] | None:
    """What a call of the pipeline takes by name; None if that is not known."""
    file = class_file("diffusers", "pipelines", name)
    definition = class_in("diffusers", file, name) if file else None
    return parameters_of(definition, "__call__") if definition else None


def check_pipeline(config: EngineConfig, varies: bool) -> None:
    """Check that a renderer of kind `diffusers` renders texts, takes its options and, if it `varies`, a strength.

    Of a pipeline that is not known without a download, nothing is checked.

    Raises:
        ValueError: it does not; one line that names the setting.
    """
    options = DiffusersOptions.model_validate(config.options)
    _check_single_file(config.model, options)
    name = pipeline_class(config)
    if name is None:
        return
    renders = text_to_image_class(name) or name
    taken = call_parameters(renders)
    if taken is not None and (reason := why_no_text_to_image(taken)):
        raise ValueError(f"runtime.engines.renderer.model: is a {renders}, which {reason}; name a text-to-image model")
    refuse_unknown(renders, taken, options)
    if varies:
        refuse_without_strength(renders)


def _check_single_file(model: str, options: DiffusersOptions) -> None:
    """Raises ValueError, one line, where settings are for a folder and the model is a file, or the reverse."""
    where = "runtime.engines.renderer.options"
    if not is_single_file(model):
        if options.base is not None:
            raise ValueError(f"{where}.base: is for a model that is a single file ({' or '.join(SINGLE_FILES)})")
        return
    if options.base is None:
        raise ValueError(
            f"{where}.base: is not set, but the model is a single file: name the model whose configuration it has, as "
            "stabilityai/stable-diffusion-xl-base-1.0"
        )
    if options.quantization is not None:
        raise ValueError(f"{where}.quantization: is for a folder of weights; a single file has the bits that it has")


def why_no_text_to_image(taken: frozenset[str]) -> str | None:
    """Why a pipeline whose call takes `taken` makes no images of texts; None if it does."""
    if "prompt" not in taken or "generator" not in taken:
        return "takes no text and seed"
    return "makes videos" if "num_frames" in taken else None


def refuse_unknown(name: str, taken: frozenset[str] | None, options: DiffusersOptions) -> None:
    """Raises ValueError, one line, if pipeline `name`, whose call takes `taken`, does not take an option."""
    if taken is not None and (unknown := sorted(set(options.call_arguments()) - taken)):
        raise ValueError(f"runtime.engines.renderer.options: {name} takes no {', '.join(unknown)}")


def refuse_without_strength(name: str) -> str:
    """The class that varies images of pipeline `name`.

    Raises:
        ValueError: there is none, or none that can say how far a variation is from its image; one line.
    """
    varying = image_to_image_class(name)
    taken = call_parameters(varying) if varying else frozenset[str]()
    if varying is None or (taken is not None and "strength" not in taken):
        lacks = f"whose image-to-image form {varying} takes no strength" if varying else "without image-to-image form"
        raise ValueError(
            f"runtime.engines.renderer.model: is a {name}, {lacks}, and method: pe-image varies images by it; use a "
            "model such as SDXL, SD3.5, FLUX.1, Z-Image or Qwen-Image"
        )
    return varying


def _of_task(mapping: str, name: str) -> str | None:
    """As diffusers finds it: the model whose entry in any mapping is `name`, and that model's entry in this one."""
    mappings = _mappings()
    model = next((model for entries in mappings.values() for model, known in entries.items() if known == name), None)
    return mappings.get(mapping, {}).get(model) if model else None


@functools.cache
def _mappings() -> dict[str, dict[str, str]]:
    """Mapping of a task in diffusers' auto_pipeline.py: model to the name of its pipeline's class."""
    module = module_source("diffusers", _AUTO)
    found: dict[str, dict[str, str]] = {}
    for node in ast.walk(module) if module else ():
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Name) and target.id.endswith("_MAPPING") and isinstance(value, ast.Call):
            (entries,) = value.args
            assert isinstance(entries, ast.List)
            found[target.id] = dict(_entry(item) for item in entries.elts)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and isinstance(value, ast.Name):
            found[target.value.id][str(ast.literal_eval(target.slice))] = value.id
    return found


def _entry(item: ast.expr) -> tuple[str, str]:
    assert isinstance(item, ast.Tuple)
    model, known = item.elts
    assert isinstance(known, ast.Name)
    return str(ast.literal_eval(model)), known.id
