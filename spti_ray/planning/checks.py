"""Whether a configuration can be run: its engines, its prompts, and settings that would do nothing of what they say."""

from __future__ import annotations

from spti_ray.config import ROLES, Config, Role
from spti_ray.config.endpoints import is_sent_in_clear
from spti_ray.config.loading import ConfigError
from spti_ray.config.validation_errors import nearest
from spti_ray.models.consistency import check_patience, check_turns
from spti_ray.models.endpoint_options import EndpointOptions
from spti_ray.models.factory import OPTIONS, check_varies, endpoint_of, engines_config
from spti_ray.public.words import shown_to_the_writer, unspaced
from spti_ray.types import Space


def engines_outside(config: Config) -> tuple[str, ...]:
    """The engines outside the cluster that are shown private images or captions of them, a phrase each.

    Raises:
        ConfigError: one of them is at an endpoint that `privacy.trusted_endpoints` does not name.
    """
    engines, outside = engines_config(config.runtime.engines), []
    for role in _shown_private(config):
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


def _shown_private(config: Config) -> tuple[Role, ...]:
    """The roles whose engines work on private images, or on captions of them."""
    if not config.uses_private_data:
        return ()
    if config.method == "captions":
        return ("captioner", "renderer")
    if config.method == "dp-finetune":
        return ("renderer",)
    shown: dict[Space, tuple[Role, ...]] = {"image": ("image_embedder",), "text": ("captioner", "text_embedder")}
    return tuple(role for space in config.evolution.spaces for role in shown[space])


def check_engines(config: Config) -> None:
    """Refuse engines that can't be used, or not by this method.

    Raises:
        ConfigError: one line that names the setting.
    """
    try:
        engines = engines_config(config.runtime.engines)
        check_turns(config.runtime, engines)
        check_patience(config.runtime, engines)
        if config.method == "captions" and config.runtime.take_turns:
            raise ValueError(
                "runtime.take_turns: with method: captions shards ask the renderer at any time; leave it out"
            )
        if config.method == "pe-image":
            check_varies(engines.renderer)
        if config.method == "dp-finetune" and engines.renderer.kind != "diffusers":
            raise ValueError(
                "runtime.engines.renderer.kind: method: dp-finetune trains a model of kind 'diffusers', and this is "
                f"{engines.renderer.kind!r}"
            )
        engines_outside(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_prompts(config: Config) -> None:
    """Refuse prompts in a script without spaces between words: words of the writer's texts could not be counted.

    Raises:
        ConfigError: one line that names the setting and the script.
    """
    if config.method not in ("spti", "random") or config.rerenders:
        return
    for setting, text in shown_to_the_writer(config):
        if script := unspaced(text):
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
    if config.uses_private_data and config.data.group_column and config.privacy.unit == "record":
        raise ConfigError(
            "data.group_column is set, but privacy.unit is record: single images would be protected, and groups would "
            "not; set privacy.unit: group, or leave data.group_column out"
        )
    engines = engines_config(config.runtime.engines)
    for role in ROLES:
        engine = engines.of(role)
        options = OPTIONS.get(engine.kind)
        if not (options and issubclass(options, EndpointOptions)):
            continue
        for name in options.model_validate(engine.options).leave_out:
            if name not in options.FIELDS:
                where = f"runtime.engines.{role}.options.leave_out"
                raise ConfigError(f"{where}: no field {name!r} is sent{nearest(name, options.FIELDS)}")
