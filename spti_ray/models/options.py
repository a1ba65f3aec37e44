"""The `options:` of each engine kind: checked when the configuration is read, before any heavy library loads.

`None` means: what the engine's library or the model's own files say. The site shows a class's docstring above its
table, under a heading that names the kinds; so most have none.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from spti_ray.config import Section


class VllmOptions(Section):
    prompt_format: Literal["completion", "chat", "few-shot-chat"] = Field(
        "completion",
        description="chat: the prompt becomes a user message in the model's chat template. few-shot-chat: each example "
        "of it becomes a user message and the assistant's answer.",
    )
    chat_template_kwargs: dict[str, Any] = Field(
        default={}, description="For chat, such as {enable_thinking: false}, which it is where the template knows it."
    )
    max_model_len: int | None = Field(2048, ge=16, description="Tokens of prompt and output together.")
    max_num_seqs: int = Field(64, ge=1, description="Sequences that decode together.")
    enforce_eager: bool | None = Field(None, description="By default on CPU only: compiling takes minutes there.")
    gpu_memory_utilization: float | None = Field(
        None, gt=0, le=1, description="Of the whole GPU; by default 0.9 of the engine's share of it, its `num_gpus`."
    )
    tensor_parallel_size: int = Field(1, ge=1)
    sleep_mode: bool = Field(
        False, description="Weights that can move to the machine's memory and back (CUDA); on with runtime.take_turns."
    )
    stats: bool = Field(False, description="Keep vLLM's own figures; on with runtime.engine_metrics.")
    extra: dict[str, Any] = Field(default={}, description="Other arguments of vLLM's AsyncEngineArgs.")


class QuantizationOptions(Section):
    """Weights in fewer bits while they rest: diffusers' PipelineQuantizationConfig."""

    backend: Literal["bitsandbytes_4bit", "bitsandbytes_8bit", "torchao"]
    components: tuple[str, ...] = Field(
        (), description="Of the pipeline, such as [transformer, text_encoder]; by default what denoises alone."
    )
    arguments: dict[str, Any] = Field(
        default={},
        description="Of the backend's configuration: {bnb_4bit_quant_type: nf4, bnb_4bit_compute_dtype: bfloat16}; for "
        "torchao {quant_type: Int8WeightOnlyConfig}, a name in torchao.quantization.",
    )


class DiffusersOptions(Section):
    steps: int | None = Field(None, ge=1)
    guidance_scale: float | None = Field(None, ge=0)
    guidance_rescale: float | None = Field(None, ge=0, le=1)
    height: int | None = Field(None, ge=8)
    width: int | None = Field(None, ge=8)
    text_encoder: str | None = Field(
        None,
        description="Model that replaces a text encoder which the pipeline's folder does not store: the first one, or "
        "HiDream's language model.",
    )
    base: str | None = Field(
        None,
        description="For a model that is a single file: the model whose configuration, tokenizers and, for a file with "
        "a denoiser alone, other weights it goes with.",
    )
    variant: str | None = Field(
        None, description="Of the weights' files, such as fp16; the plain ones, or the one variant that there is."
    )
    quantization: QuantizationOptions | None = Field(None, description="Weights in fewer bits: less memory.")
    offload: Literal["model", "sequential"] | None = Field(
        None,
        description="Weights wait in the machine's memory. model: the models of a pipeline come to the GPU in turns; "
        "sequential: layer by layer, much slower.",
    )
    safety_checker: bool = Field(
        True,
        description="Whether the pipeline's safety checker, if it has one, is asked. An image that it flags is "
        "rendered again from other seeds, and not made if it flags those too.",
    )
    fit_batch: bool = Field(
        False,
        description="At the start, find the largest of 1, 2, 4, ... up to batch_size that the GPU has room for, and "
        "render in such micro-batches. What is in a unit stays.",
    )
    vae_slicing: bool = Field(False, description="Decode image by image: less memory.")
    vae_tiling: bool = Field(False, description="Decode in tiles: less memory at large sizes.")
    compile: bool = Field(False, description="compile_repeated_blocks(), where the model has it.")
    attention_backend: str | None = Field(None, description="diffusers' name, such as `flash`; falls back to its own.")
    extra: dict[str, Any] = Field(default={}, description="Other arguments of the pipeline's call.")

    def call_arguments(self) -> dict[str, Any]:
        """The arguments of every call of the pipeline. Options that are not set are left to its defaults."""
        named = {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "guidance_rescale": self.guidance_rescale,
            "height": self.height,
            "width": self.width,
        }
        return {name: value for name, value in named.items() if value is not None} | self.extra


class VllmVisionOptions(Section):
    prompt: str = Field("Describe this image in one short sentence.", min_length=1)
    max_tokens: int = Field(64, ge=1)
    max_side: int | None = Field(1024, ge=16, description="Larger images are made smaller first: fewer tokens.")
    chat_template_kwargs: dict[str, Any] = Field(default={}, description="Such as {enable_thinking: false}.")
    max_model_len: int | None = Field(4096, ge=16, description="Tokens of image, prompt and caption together.")
    max_num_seqs: int = Field(
        32, ge=1, description="Images at work together; with 1, none can touch another's rounding."
    )
    enforce_eager: bool | None = Field(None, description="By default on CPU only: compiling takes minutes there.")
    gpu_memory_utilization: float | None = Field(
        None, gt=0, le=1, description="Of the whole GPU; by default 0.9 of the engine's share of it, its `num_gpus`."
    )
    extra: dict[str, Any] = Field(default={}, description="Other arguments of vLLM's EngineArgs.")


class CaptionerOptions(Section):
    max_tokens: int = Field(24, ge=1)
    prompt: str | None = Field(
        None, description="Text that the caption continues, or the model's task (Florence-2: <CAPTION>)."
    )


class ChatCaptionerOptions(Section):
    prompt: str = Field("Describe this image in one short sentence.", min_length=1)
    max_tokens: int = Field(64, ge=1)
    max_side: int | None = Field(1024, ge=16, description="Larger images are made smaller first.")
    chat_template_kwargs: dict[str, Any] = Field(
        default={}, description="Such as {enable_thinking: false}, which it is where the template knows it."
    )
    processor: dict[str, Any] = Field(
        default={}, description="Arguments of its processor's call, such as {do_image_splitting: false}: fewer tokens."
    )


class ImageEmbedderOptions(Section):
    """The image embedder `vision` has no options."""


class InceptionOptions(Section):
    sha256: str | None = Field(
        "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        description="Of the file, which is refused if it has another; null for a network of your own.",
    )
    pixels: int | None = Field(
        None,
        ge=8,
        description="Images are first cut to their middle square and brought to this many pixels, then to the "
        "network's 299.",
    )


class SentenceOptions(Section):
    max_tokens: int = Field(64, ge=2, description="Every text is padded or cut to this many tokens.")


class ClipTextOptions(Section):
    """The text embedder `clip-text` has no options."""


class FakeOptions(Section):
    delay_s: float = Field(0.0, ge=0, description="Sleep of each call, for tests of scheduling.")
