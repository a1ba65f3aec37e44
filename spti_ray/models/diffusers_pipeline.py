"""Makes a diffusers pipeline from a renderer's settings: loads, places and tunes it, and prepares its arguments."""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.quantizers import quantization_config
from diffusers.quantizers.pipe_quant_config import PipelineQuantizationConfig
from diffusers.utils import logging as diffusers_logging
from transformers import AutoModel

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing, resolve_model
from spti_ray.models.options import DiffusersOptions, QuantizationOptions
from spti_ray.models.pipeline_classes import (
    refuse_unknown,
    refuse_without_strength,
    text_to_image_class,
    why_no_text_to_image,
)
from spti_ray.models.single_file import file_of, holds_whole_pipeline, load_denoiser, load_whole_pipeline
from spti_ray.models.weight_files import file_names, is_single_file, variant_of

log = logging.getLogger(__name__)

_VARIANT_OF = {torch.float16: "fp16", torch.bfloat16: "bf16"}
"""Which of several variants is loaded, where there are no plain weights."""


def load_pipeline(config: EngineConfig, options: DiffusersOptions, dtype: torch.dtype) -> Any:
    """Load the pipeline of `config.model` on the CPU, with another text encoder if the options give one.

    The class is AutoPipeline's where that knows the model, else the one that the checkpoint names. Weights that are
    stored in one variant alone, such as fp16, are loaded from it. Quantised weights are where their library puts them.

    Raises:
        ModelMissing: the model is no text-to-image pipeline of the installed diffusers, or a library is not installed;
            one line.
    """
    given: dict[str, Any] = {}
    source, revision = config.model, config.revision
    if is_single_file(source):
        file, source, revision = file_of(source, revision), resolve_model(str(options.base)), None
        if holds_whole_pipeline(file):
            return load_whole_pipeline(file, source, _loader(source, revision).__name__, dtype)
        given = load_denoiser(file, source, dtype)
    source = resolve_model(source)
    loader = _loader(source, revision)
    given |= {"revision": revision, "dtype": dtype}
    if variant := options.variant or variant_of(file_names(source, revision), _VARIANT_OF.get(dtype)):
        given["variant"] = variant
    if options.quantization is not None:
        given["quantization_config"] = _quantization(options.quantization, source, revision)
    if options.text_encoder is not None:
        given["text_encoder"] = AutoModel.from_pretrained(resolve_model(options.text_encoder), dtype=dtype)
    # diffusers warns of a text encoder that is not CLIP's, which is intended, and of components that lack the variant.
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        return loader.from_pretrained(source, **given)
    finally:
        diffusers_logging.set_verbosity(verbosity)


def _loader(source: str, revision: str | None) -> Any:
    """The class of diffusers that loads a checkpoint and renders texts.

    Raises:
        ModelMissing: there is none; one line.
    """
    index: Any = DiffusionPipeline.load_config(source, revision=revision)
    name = index.get("_class_name")
    if not isinstance(name, str):
        raise ModelMissing(f"{source}: its pipeline is code of its own ({name}), which is not run; name another model")
    name = text_to_image_class(name) or name
    loader = getattr(diffusers, name, None)
    if loader is None:
        raise ModelMissing(f"{source}: is a {name}, which diffusers {diffusers.__version__} does not have; upgrade it")
    if reason := why_no_text_to_image(frozenset(inspect.signature(loader.__call__).parameters)):
        raise ModelMissing(f"{source}: is a {name}, which {reason}; name a text-to-image model")
    return loader


def image_to_image(pipeline: Any) -> Any:
    """The pipeline that varies images with the same components.

    Raises:
        ValueError: diffusers has none for this model, or none with a strength; one line.
    """
    # Imports all of diffusers' pipelines: seconds, and memory that a renderer of texts does without.
    from diffusers.pipelines import auto_pipeline

    name = refuse_without_strength(type(pipeline).__name__)
    if name in {listed.__name__ for listed in auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.values()}:
        return auto_pipeline.AutoPipelineForImage2Image.from_pipe(pipeline)
    return getattr(diffusers, name)(**pipeline.components)


def place(pipeline: Any, options: DiffusersOptions, device: torch.device) -> None:
    """Move the pipeline to its device; with `offload`, each of its models only while it computes.

    Raises:
        ValueError: there is no GPU to offload from, in one line.
    """
    if options.offload is None:
        pipeline.to(device)
    elif device.type == "cpu":
        raise ValueError("runtime.engines.renderer.options.offload: frees a GPU between uses, but num_gpus is 0")
    elif options.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def tune(pipeline: Any, options: DiffusersOptions) -> None:
    """Apply settings for memory and speed. What a model does not support is left out, with a line in the log."""
    if options.vae_slicing:
        pipeline.vae.enable_slicing()
    if options.vae_tiling:
        pipeline.vae.enable_tiling()
    denoiser: Any = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    if options.attention_backend and hasattr(denoiser, "set_attention_backend"):
        try:
            denoiser.set_attention_backend(options.attention_backend)
        except (ImportError, RuntimeError, ValueError) as error:
            log.warning("attention backend %s is not used: %s", options.attention_backend, str(error).splitlines()[0])
    if options.compile:
        if getattr(denoiser, "_repeated_blocks", None):
            denoiser.compile_repeated_blocks(fullgraph=True)
        else:
            log.warning("%s has no repeated blocks to compile", type(denoiser).__name__)


def call_arguments(pipeline_class: type, options: DiffusersOptions) -> dict[str, Any]:
    """The arguments of every call of the pipeline.

    Raises:
        ValueError: the pipeline takes no argument of that name.
    """
    taken = inspect.signature(pipeline_class.__call__).parameters
    refuse_unknown(pipeline_class.__name__, frozenset(taken), options)
    return options.call_arguments()


def _quantization(options: QuantizationOptions, source: str, revision: str | None) -> PipelineQuantizationConfig:
    """One configuration for each component, from the library that loads it: torchao's differ between libraries."""
    where = "runtime.engines.renderer.options.quantization"
    index: Any = DiffusionPipeline.load_config(source, revision=revision)
    libraries = {name: entry[0] for name, entry in index.items() if isinstance(entry, list | tuple) and entry[0]}
    components = options.components or [name for name in ("transformer", "unet") if name in libraries]
    if unknown := sorted(set(components) - set(libraries)):
        raise ValueError(f"{where}.components: {source} has no {unknown[0]}; it has {', '.join(sorted(libraries))}")
    try:
        library = importlib.import_module(options.backend.partition("_")[0])
    except ImportError:
        name = options.backend.partition("_")[0]
        raise ModelMissing(f"{where}: {name} is not installed: pip install {name}") from None
    arguments = options.arguments
    try:
        if options.backend == "torchao":
            quant_type = str(arguments.get("quant_type", "Int8WeightOnlyConfig"))
            arguments = arguments | {"quant_type": getattr(library.quantization, quant_type)()}
            kinds = {"diffusers": quantization_config.TorchAoConfig, "transformers": transformers.TorchAoConfig}
        else:
            arguments = {f"load_in_{options.backend.partition('_')[2]}": True} | arguments
            kinds = {
                "diffusers": quantization_config.BitsAndBytesConfig,
                "transformers": transformers.BitsAndBytesConfig,
            }
        mapping = {name: _checked(kinds[libraries[name]], arguments) for name in components}
        return PipelineQuantizationConfig(quant_mapping=mapping)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: {' '.join(str(error).split())[:200]}") from None


def _checked(kind: Any, arguments: dict[str, Any]) -> Any:
    """Make a configuration of class `kind`. ValueError for an unknown argument, which would otherwise be ignored."""
    if unknown := sorted(set(arguments) - set(inspect.signature(kind).parameters)):
        raise ValueError(f"{kind.__name__} takes no {unknown[0]}")
    return kind(**arguments)
