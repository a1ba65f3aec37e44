"""The `options:` of engines behind an OpenAI-compatible HTTP endpoint. Imports no heavy library.

A key has no place in a configuration, which is public: it is read from the environment of the engine's process, under
the name given here. Nothing in an error of this module repeats what was given.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from spti_ray.config import Section


class EndpointOptions(Section):
    base_url: str = Field(description="Such as https://api.openai.com/v1; no key, user or query in it.")
    api_key_env: str | None = Field(
        None, description="Name of the environment variable that holds the key, on the nodes that run the engine."
    )
    max_concurrent: int = Field(16, ge=1, le=10_000, description="Requests under way at once, of one replica.")
    max_retries: int = Field(
        8, ge=0, le=100, description="Of a request that meets a rate limit, a server error or a lost connection."
    )
    timeout_s: float = Field(120.0, gt=0, description="Longest wait for one answer.")
    leave_out: tuple[str, ...] = Field((), description="Fields that the endpoint does not take, such as [seed, top_p].")
    extra: dict[str, Any] = Field(default={}, description="Other fields of the request's body.")

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
            parts = urlsplit("")
        if not usable or parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("is not http(s)://host[:port]/path without user, key, query or fragment")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name):
            raise ValueError("is no name of an environment variable in capitals; never put the key itself here")
        return name


class Prices(Section):
    """In US dollars per million tokens."""

    input: float = Field(0.0, ge=0)
    cached_input: float | None = Field(None, ge=0, description="Of input that the endpoint had cached; as input.")
    output: float = Field(0.0, ge=0)


class OpenAIWriterOptions(EndpointOptions):
    prompt_format: Literal["completion", "chat", "few-shot-chat"] = Field(
        "chat",
        description="chat: the prompt is a user message. few-shot-chat: each example of it becomes a user message and "
        "the assistant's answer. completion: the plain prompt, for base models (/completions).",
    )
    prices: Prices | None = Field(None, description="What the run's end adds up; without them, tokens only.")
