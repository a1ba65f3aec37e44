"""The `options:` of engines behind an OpenAI-compatible HTTP endpoint. Imports no heavy library.

A configuration is public, so it holds no key: it names the environment variable of the engine's process that does. The
errors of this module repeat nothing of what was given.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from spti_ray.config import Section
from spti_ray.config.endpoints import normal_endpoint

LONGEST_BATCH_S = 90_000.0
"""24 hours, the only completion window of the batch endpoint, and an hour for what comes before and after."""


class EndpointOptions(Section):
    FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields of a request that `leave_out` may name."""

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
        return normal_endpoint(url)

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


def price(prices: Prices, prompt_tokens: float, cached_tokens: float, output_tokens: float) -> float:
    """The price of one answer in US dollars.

    Args:
        prices: Per million tokens.
        prompt_tokens: Tokens of the prompt.
        cached_tokens: Those of them that the endpoint had cached.
        output_tokens: Tokens of the output.
    """
    of_cached = prices.input if prices.cached_input is None else prices.cached_input
    return (
        (prompt_tokens - cached_tokens) * prices.input + cached_tokens * of_cached + output_tokens * prices.output
    ) / 1e6


class OpenAIWriterOptions(EndpointOptions):
    FIELDS = ("n", "seed", "temperature", "top_p", "max_tokens", "stop")

    prompt_format: Literal["completion", "chat", "few-shot-chat"] = Field(
        "chat",
        description="chat: the prompt is a user message. few-shot-chat: each example of it becomes a user message and "
        "the assistant's answer. completion: the plain prompt, for base models (/completions).",
    )
    prices: Prices | None = Field(None, description="What the run's end adds up; without them, tokens only.")
    batch: bool = Field(
        False,
        description="Each unit is a batch (/batches), which is cheaper and takes up to 24 hours. Raise batch_size and "
        "runtime.unit_timeout_s.",
    )
    poll_s: float = Field(30.0, gt=0, description="How often a batch is asked whether it is done.")


class OpenAICaptionerOptions(EndpointOptions):
    FIELDS = ("seed", "temperature", "max_tokens")

    prompt: str = Field("Describe this image in one short sentence.", min_length=1)
    max_tokens: int = Field(64, ge=1)
    max_side: int | None = Field(1024, ge=16, description="Larger images are made smaller before they are sent.")
    detail: Literal["auto", "low", "high"] | None = Field(None, description="OpenAI's setting of the same name.")


class OpenAIRendererOptions(EndpointOptions):
    FIELDS = ("n", "seed", "size", "response_format")

    width: int = Field(1024, ge=8)
    height: int = Field(1024, ge=8)
    timeout_s: float = Field(300.0, gt=0, description="Longest wait for one image.")
    edits: bool = Field(
        False,
        description="/images/edits of the endpoint takes a `strength`, as vLLM-Omni's does: method: pe-image can vary "
        "images by it.",
    )
