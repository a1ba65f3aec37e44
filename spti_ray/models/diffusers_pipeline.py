"""Makes a diffusers pipeline from a renderer's settings: loads, places and tunes it, and prepares its arguments."""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any

import torch
import transformers
from diffusers.pipelines.auto_pipeline import AutoPipelineForText2Image
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.quantizers import quantization_config
from diffusers.quantizers.pipe_quant_config import PipelineQuantizationConfig
from diffusers.utils import logging as diffusers_logging
from transformers import AutoModel

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing, resolve_model
from spti_ray.models.options import DiffusersOptions, QuantizationOptions

log = logging.getLogger(__name__)


def load_pipeline(config: EngineConfig, options: DiffusersOptions, dtype: torch.dtype) -> Any:
    """Load the pipeline of `config.model` on the CPU, with another text encoder if the options give one.

    Quantised weights are where their library puts them.

    Raises:
        ModelMissing: the library that quantises is not installed.
    """
    source = resolve_model(config.model)
    given: dict[str, Any] = {"revision": config.revision, "dtype": dtype}
    if options.quantization is not None:
        given["quantization_config"] = _quantization(options.quantization, source, config.revision)
    if options.text_encoder is None:
        return AutoPipelineForText2Image.from_pretrained(source, **given)
    text_encoder = AutoModel.from_pretrained(resolve_model(options.text_encoder), dtype=dtype)
    # diffusers warns that the text encoder is not CLIP's, which is intended. Only this call is silenced.
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        return DiffusionPipeline.from_pretrained(source, text_encoder=text_encoder, **given)
    finally:
        diffusers_logging.set_verbosity(verbosity)


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
    """The arguments of every call of the pipeline. Options that are not set are left to its defaults.

    Raises:
        ValueError: the pipeline takes no argument of that name.
    """
    named = {
        "num_inference_steps": options.steps,
        "guidance_scale": options.guidance_scale,
        "guidance_rescale": options.guidance_rescale,
        "height": options.height,
        "width": options.width,
    }
    arguments = {name: value for name, value in named.items() if value is not None} | options.extra
    unknown = sorted(set(arguments) - set(inspect.signature(pipeline_class.__call__).parameters))
    if unknown:
        raise ValueError(f"runtime.engines.renderer.options: {pipeline_class.__name__} takes no {', '.join(unknown)}")
    return arguments


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
