"""Whether a configuration can be run: its engines, its prompts, and settings that would do nothing of what they say."""

from __future__ import annotations

from collections.abc import Iterable

from spti_ray.config import ROLES, Config, EnginesConfig, Role
from spti_ray.config.endpoints import is_sent_in_clear
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import (
    candidates_are_images,
    roles_needed,
    roles_shown_private,
    shard_gpus,
    shards_caption,
    trains,
    uses_private_data,
)
from spti_ray.config.validation_errors import nearest
from spti_ray.models.endpoint_options import EndpointOptions
from spti_ray.models.engine_checks import check_batch_timeout, check_gpu_time_sharing
from spti_ray.models.factory import OPTIONS, check_varies, endpoint_of, engines_config, is_vllm
from spti_ray.models.gpus_here import gpus_here
from spti_ray.models.pipeline_classes import check_pipeline
from spti_ray.models.pipeline_needs import check_encoder, check_packages
from spti_ray.models.presence import check_engine_model
from spti_ray.models.render_sizes import check_render_size
from spti_ray.models.text_window import TextWindow
from spti_ray.models.vllm_build import check_vllm_build
from spti_ray.models.vllm_extra import check_extra
from spti_ray.planning.filter_checks import check_filters
from spti_ray.public.words import script_without_spaces, writer_texts


def engines_outside(config: Config) -> tuple[str, ...]:
    """The engines outside the cluster that are shown private images or captions of them, a phrase each.

    Raises:
        ConfigError: one of them is at an endpoint that `privacy.trusted_endpoints` does not name.
    """
    engines, outside = engines_config(config.runtime.engines), []
    for role in roles_shown_private(config):
        endpoint = endpoint_of(engines.of(role))
        if endpoint is None:
            continue
        if endpoint not in config.privacy.trusted_endpoints:
            what = "captions of private images" if role == "renderer" else "private images"
            raise ConfigError(
                f"runtime.engines.{role}: would send {what} to {endpoint}, outside the cluster; use an engine that "
                f"runs inside it, or, if whoever runs the endpoint may see them, set privacy.trusted_endpoints: "
                f"[{endpoint}], which the certificate then says"
            )
        clear = ", unencrypted on the way" if is_sent_in_clear(endpoint) else ""
        outside.append(f"{role} {engines.of(role).model} at {endpoint}{clear}")
    return tuple(outside)


def check_engines(config: Config) -> None:
    """Refuse engines that can't be used, or not by this method.

    Raises:
        ConfigError: one line that names the setting.
    """
    try:
        engines = engines_config(config.runtime.engines)
        check_gpu_time_sharing(config.runtime, engines)
        check_batch_timeout(config.runtime, engines)
        if shards_caption(config) and config.runtime.take_turns:
            raise ValueError(
                f"runtime.take_turns: with method: {config.method} shards ask the renderer at any time; leave it out"
            )
        for role in roles_needed(config):
            if engines.of(role).kind in ("vllm", "vllm-vision"):
                check_extra(f"runtime.engines.{role}", engines.of(role))
        if candidates_are_images(config):
            check_varies(engines.renderer)
        if engines.renderer.kind == "diffusers" and "renderer" in roles_needed(config):
            check_pipeline(engines.renderer, varies=candidates_are_images(config))
            check_encoder(engines.renderer)
        if trains(config) and engines.renderer.kind != "diffusers":
            raise ValueError(
                f"runtime.engines.renderer.kind: method: {config.method} trains a model of kind 'diffusers', and this "
                f"is {engines.renderer.kind!r}"
            )
        check_filters(config, engines)
        _check_who_must_be_there(config, engines)
        engines_outside(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_build(config: Config) -> None:
    """Refuse engines for which this machine lacks a package or a build of vLLM. Of other machines their actors say it.

    Raises:
        ConfigError: one line that names the setting.
    """
    engines = engines_config(config.runtime.engines)
    try:
        for role in roles_needed(config):
            if is_vllm(engines.of(role)):
                check_vllm_build(role, engines.of(role))
            if engines.of(role).kind == "diffusers":
                check_packages(engines.of(role))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_models(config: Config, roles: Iterable[Role]) -> None:
    """Refuse models that this machine can't have.

    Args:
        config: the configuration.
        roles: whose engines are started.

    Raises:
        ModelNotFound: one line that names the setting.
    """
    engines = engines_config(config.runtime.engines)
    for role in roles:
        check_engine_model(f"runtime.engines.{role}", engines.of(role))


def check_gpus(config: Config, roles: Iterable[Role]) -> None:
    """Refuse engines and shards that want a GPU where all have to be on this machine, and it has none for them.

    Args:
        config: the configuration.
        roles: whose engines are started.

    Raises:
        ConfigError: one line that names the setting.
    """
    if config.runtime.executor != "local":
        return  # Ray counts the GPUs of its nodes
    engines = engines_config(config.runtime.engines)
    wanted = {f"runtime.engines.{role}.num_gpus": engines.of(role).num_gpus for role in roles}
    wanted["runtime.shard.num_gpus"] = shard_gpus(config)
    there = gpus_here() if any(wanted.values()) else 0
    for setting, num_gpus in wanted.items():
        if num_gpus > there:
            found = f"only {there} here" if there else "none here"
            raise ConfigError(
                f"{setting}: is {num_gpus:g}, but torch finds {found}, and runtime.executor: local is this machine "
                "alone; set it to 0 for a CPU, or see `spti doctor`"
            )


def _check_who_must_be_there(config: Config, engines: EnginesConfig) -> None:
    """Refuse `replicas: 0` of a role that is asked by others than the run's own streams of work. Raises ValueError."""
    asked: dict[Role, str] = {role: "shards ask it at any time" for role in roles_shown_private(config)}
    if trains(config):
        asked["renderer"] = "its model is trained where the first one will be"
    for role, why in asked.items():
        if not engines.of(role).replicas:
            raise ValueError(f"runtime.engines.{role}.replicas: is 0, but {why}: at least 1")


def check_prompts(config: Config) -> None:
    """Refuse prompts in a script without spaces between words: words of the writer's texts could not be counted.

    Raises:
        ConfigError: one line that names the setting and the script.
    """
    if "writer" not in roles_needed(config):
        return
    for setting, text in writer_texts(config):
        if script := script_without_spaces(text):
            raise ConfigError(
                f"{setting}: is in {script}, a script without spaces between words, where lengths, blanks and "
                "duplicates can't be counted yet; write the prompts in a language with spaces (a label can have a hint)"
            )


def check_new(config: Config) -> None:
    """Refuse a new run for settings that would not do what they say.

    A run that an earlier build began goes on with them, so they are not among the configuration's own rules.

    Raises:
        ConfigError: one line that names the setting.
    """
    if uses_private_data(config) and config.data.group_column and config.privacy.unit == "record":
        raise ConfigError(
            "data.group_column is set, but privacy.unit is record: single images would be protected, and groups would "
            "not; set privacy.unit: group, or leave data.group_column out"
        )
    engines = engines_config(config.runtime.engines)
    if isinstance(config.prompts.max_tokens_rendered, int) and TextWindow.of(engines.renderer) is None:
        raise ConfigError(
            f"prompts.max_tokens_rendered: is {config.prompts.max_tokens_rendered}, but nobody here can count tokens "
            "as this renderer's encoder does; leave it out, and set prompts.max_words"
        )
    if "renderer" in roles_needed(config) and engines.renderer.kind == "diffusers":
        try:
            check_render_size(engines.renderer)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    for role in ROLES:
        engine = engines.of(role)
        options = OPTIONS.get(engine.kind)
        if not (options and issubclass(options, EndpointOptions)):
            continue
        for name in options.model_validate(engine.options).leave_out:
            if name not in options.FIELDS:
                where = f"runtime.engines.{role}.options.leave_out"
                raise ConfigError(f"{where}: no field {name!r} is sent{nearest(name, options.FIELDS)}")
