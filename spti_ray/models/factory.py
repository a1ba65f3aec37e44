"""From configuration to engines: known kinds, the embedded and fake sets, and construction.

Imports no heavy library: `build_engine` imports an engine's module in the process that will run it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, get_args

from pydantic import ValidationError

from spti_ray.config import ROLES, EngineConfig, EnginesConfig, Role, Section
from spti_ray.config.endpoints import normal_endpoint
from spti_ray.config.validation_errors import one_line
from spti_ray.models import endpoint_options, options
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.engine_errors import EngineNotBuilt, is_one_line, line_of
from spti_ray.models.presence import check_engine_model
from spti_ray.models.vllm_build import check_vllm_build
from spti_ray.models.vllm_extra import check_workers
from spti_ray.models.writable_home import set_home_and_user
from spti_ray.types import SIMULATED

KINDS: dict[str, str] = {
    "vllm": "spti_ray.models.vllm_writer:VllmWriter",
    "openai": "spti_ray.models.openai_writer:OpenAIWriter",
    "diffusers": "spti_ray.models.diffusers_renderer:DiffusersRenderer",
    "openai-images": "spti_ray.models.openai_renderer:OpenAIRenderer",
    "image-to-text": "spti_ray.models.transformers_captioner:TransformersCaptioner",
    "blip": "spti_ray.models.transformers_captioner:TransformersCaptioner",
    "chat-vision": "spti_ray.models.chat_captioner:ChatCaptioner",
    "vllm-vision": "spti_ray.models.vllm_captioner:VllmCaptioner",
    "openai-vision": "spti_ray.models.openai_captioner:OpenAICaptioner",
    "vision": "spti_ray.models.embedders:VisionEmbedder",
    "clip-vision": "spti_ray.models.embedders:VisionEmbedder",
    "inception": "spti_ray.models.inception_embedder:InceptionEmbedder",
    "sentence": "spti_ray.models.embedders:SentenceEmbedder",
    "clip-text": "spti_ray.models.clip_text:ClipTextEmbedder",
    "fake-writer": "spti_ray.models.fakes:FakeWriter",
    "fake-renderer": "spti_ray.models.fakes:FakeRenderer",
    "fake-captioner": "spti_ray.models.fakes:FakeCaptioner",
    "fake-image-embedder": "spti_ray.models.fakes:FakeImageEmbedder",
    "fake-text-embedder": "spti_ray.models.fakes:FakeTextEmbedder",
}
"""The class of each short `kind`; any other kind is itself `module:Class`."""

OPTIONS: dict[str, type[Section]] = {
    "vllm": options.VllmOptions,
    "openai": endpoint_options.OpenAIWriterOptions,
    "diffusers": options.DiffusersOptions,
    "openai-images": endpoint_options.OpenAIRendererOptions,
    "image-to-text": options.CaptionerOptions,
    "blip": options.CaptionerOptions,
    "chat-vision": options.ChatCaptionerOptions,
    "vllm-vision": options.VllmVisionOptions,
    "openai-vision": endpoint_options.OpenAICaptionerOptions,
    "vision": options.ImageEmbedderOptions,
    "clip-vision": options.ImageEmbedderOptions,
    "inception": options.InceptionOptions,
    "sentence": options.SentenceOptions,
    "clip-text": options.ClipTextOptions,
    **{kind: options.FakeOptions for kind in KINDS if kind.startswith("fake-")},
}

_REMOTE = {"openai", "openai-images", "openai-vision"}
"""Kinds whose input leaves the cluster's processes, for the endpoint at `options.base_url`."""

_VLLM = {"vllm", "vllm-vision"}

_VARYING = {"diffusers", "openai-images", "fake-renderer"}
"""Kinds of renderers that can vary an image."""

ENGINE_METHODS: dict[Role, str] = {
    "writer": "write",
    "captioner": "caption",
    "renderer": "render",
    "image_embedder": "embed_images",
    "text_embedder": "embed_texts",
}
"""What an engine of each role must have. A renderer may have `VARY` beside it."""

PREPARE, EMBED_PREPARED = "prepare_images", "embed_prepared"
"""Methods that an image embedder may have beside its own: its two halves, of which the first needs no turn; see
`protocols.PreparingEmbedder`."""

VARY = "vary"
"""The method of a renderer that varies images, which `method: pe-image` needs."""


EMBEDDED = EnginesConfig(
    # Fractions of a CPU: all five fit on two cores, with room for shards. While it works, each engine still uses
    # `threads` cores. Waiting threads sleep (see engine_process), so sharing cores costs little.
    writer=EngineConfig(kind="vllm", model="bundled:smollm2", dtype="bfloat16", batch_size=64, num_cpus=0.5),
    renderer=EngineConfig(
        kind="diffusers",
        model="bundled:sticker-sd",
        dtype="bfloat16",
        batch_size=16,
        num_cpus=0.5,
        # 8 steps look as good as 20 with this model.
        options={
            "steps": 8,
            "guidance_scale": 4.0,
            "guidance_rescale": 0.7,
            "height": 64,
            "width": 64,
            "text_encoder": "bundled:minilm",
        },
    ),
    captioner=EngineConfig(kind="blip", model="bundled:sticker-blip", dtype="float32", batch_size=32, num_cpus=0.2),
    image_embedder=EngineConfig(
        kind="clip-vision", model="bundled:sticker-clip", dtype="float32", batch_size=32, num_cpus=0.2
    ),
    text_embedder=EngineConfig(
        kind="sentence",
        model="bundled:minilm",
        dtype="float32",
        batch_size=32,
        num_cpus=0.1,
        options={"max_tokens": 32},  # Texts have at most 16 words.
    ),
)
"""Small real models that run on a laptop's CPU, offline."""

FAKE = EnginesConfig(
    **{role: EngineConfig(kind=f"fake-{role.replace('_', '-')}", model=SIMULATED, num_cpus=0.1) for role in ROLES}
)
"""Deterministic fake engines, to test everything around engines. Results are marked SIMULATED."""


def engines_config(value: str | dict[Role, dict[str, Any]] = "embedded") -> EnginesConfig:
    """The engines that `runtime.engines` asks for.

    A role's settings override the embedded ones. With another `kind` nothing of the embedded settings is kept; with
    another `model` all but their `options`, which belong to the embedded model.

    Args:
        value: "embedded", "fake", or settings by role.

    Raises:
        ValueError: one line that names `runtime.engines.<role>.<key>`.
    """
    if isinstance(value, str):
        literals = {"embedded": EMBEDDED, "fake": FAKE}
        if value not in literals:
            raise ValueError(f"runtime.engines: {value!r} is not embedded, fake or settings per role")
        return literals[value]
    for role in value:
        if role not in get_args(Role):
            raise ValueError(f"runtime.engines.{role}: there is no such role; roles: {', '.join(ROLES)}")
    return EnginesConfig(**{role: _overlay(role, value.get(role) or {}) for role in ROLES})


def _overlay(role: Role, settings: dict[str, Any]) -> EngineConfig:
    base = EMBEDDED.of(role)
    if settings.get("kind", base.kind) == base.kind:
        merged = base.model_dump() | settings
        given = settings.get("options") or {}
        same_model = settings.get("model", base.model) == base.model
        if isinstance(given, dict):
            merged["options"] = (base.options | given) if same_model else given
    else:
        merged = settings
    where = f"runtime.engines.{role}"
    try:
        config = EngineConfig.model_validate(merged)
    except ValidationError as error:
        raise ValueError(one_line(error, EngineConfig, where)) from None
    if config.kind not in KINDS and ":" not in config.kind:
        raise ValueError(f"{where}.kind: {config.kind!r} is neither module:Class nor one of {', '.join(KINDS)}")
    if config.kind in OPTIONS:
        try:
            OPTIONS[config.kind].model_validate(config.options)
        except ValidationError as error:
            raise ValueError(one_line(error, OPTIONS[config.kind], f"{where}.options", values=False)) from None
    if config.kind in _VLLM:
        check_workers(where, config)
    if not config.model:
        raise ValueError(f"{where}.model: is not set; give a Hugging Face id, a folder or bundled:NAME")
    return config


def endpoint_of(config: EngineConfig) -> str | None:
    """The HTTP endpoint that an engine sends its input to; None for an engine that works in its own process.

    It is known for the kinds of this package, also when given as `module:Class`. Engines of the user's own are trusted.
    """
    if not any(config.kind in (kind, KINDS[kind]) for kind in _REMOTE):
        return None
    return normal_endpoint(str(config.options.get("base_url", "")))


def is_vllm(config: EngineConfig) -> bool:
    """Whether an engine is one of vLLM's, by its short kind or as `module:Class`."""
    return any(config.kind in (kind, KINDS[kind]) for kind in _VLLM)


def may_cost_money(config: EngineConfig) -> bool:
    """Whether somebody may pay for each call of an engine: of endpoints, and of engines of the user's own."""
    return config.kind not in KINDS or config.kind in _REMOTE


def check_varies(config: EngineConfig) -> None:
    """Check that a renderer can vary images. Only an engine of the user's own is imported for that.

    Raises:
        ValueError: it can't; one line.
    """
    if config.kind == "openai-images" and not config.options.get("edits"):
        raise ValueError(
            "runtime.engines.renderer.options.edits: is not set, and method: pe-image varies images; set it if "
            "/images/edits of the endpoint takes a strength, as vLLM-Omni's does"
        )
    can = config.kind in _VARYING
    if config.kind not in KINDS:
        module_name, _, class_name = config.kind.partition(":")
        try:
            can = hasattr(getattr(importlib.import_module(module_name), class_name), VARY)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"runtime.engines.renderer.kind: can't import {config.kind!r}: {error}") from error
    if not can:
        raise ValueError(
            f"runtime.engines.renderer.kind: {config.kind!r} has no method {VARY}(), which method: pe-image needs; use "
            "a renderer that has one"
        )


def build_engine(
    role: Role,
    config: EngineConfig,
    takes_turns: bool = False,
    imported: Callable[[], None] = lambda: None,
    importing: Callable[[str], ModuleType] = importlib.import_module,
) -> Any:
    """Import an engine's class and construct it, which loads the model.

    Args:
        role: What the engine is for.
        config: Its settings.
        takes_turns: Whether it shares a GPU by turns (`runtime.take_turns`), so that it must be able to sleep.
        imported: Called once its class and the libraries below it are imported, before the model is loaded.
        importing: Imports a module by its name.

    Raises:
        ValueError: the kind can't be imported, is no engine of this role, can't sleep although it must, or has no GPU
            although the installed build needs one.
        ModelNotFound: there is no model by that name.
        ModelMissing: the model is not whole, or a package is missing.
        EngineNotBuilt: a library could not build it, and said so in more than one line.
    """
    set_home_and_user()
    where = f"runtime.engines.{role}.kind"
    if is_vllm(config):
        check_vllm_build(role, config)
    check_engine_model(f"runtime.engines.{role}", config)
    module_name, _, class_name = KINDS.get(config.kind, config.kind).partition(":")
    try:
        engine_class = getattr(importing(module_name), class_name)
    except (ImportError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "vllm":
            raise ValueError(f"{where}: vLLM is not installed: add 'spti-ray[cpu]' or 'spti-ray[gpu]'") from error
        broken = isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError)
        hint = "; `spti doctor` says which packages do not fit" if broken else ""
        raise ValueError(f"{where}: can't import {config.kind!r}: {error}{hint}") from error
    if not hasattr(engine_class, ENGINE_METHODS[role]):
        raise ValueError(f"{where}: {config.kind!r} has no method {ENGINE_METHODS[role]}()")
    if takes_turns and not (hasattr(engine_class, "sleep") and hasattr(engine_class, "wake")):
        raise ValueError(f"{where}: {config.kind!r} has no methods sleep() and wake(), as runtime.take_turns needs")
    imported()
    try:
        return engine_class(config)
    except ModelMissing:
        raise
    except Exception as error:
        if is_one_line(error):
            raise
        raise EngineNotBuilt(f"runtime.engines.{role}: {line_of(error)}") from error


def public_engine_config(config: EngineConfig, takes_turns: bool, reports_stats: bool) -> EngineConfig:
    """The settings of a public engine in its actor: whether it can sleep, and whether it keeps its own metrics."""
    if config.kind != "vllm":
        return config
    return config.model_copy(update={"options": config.options | {"sleep_mode": takes_turns, "stats": reports_stats}})
