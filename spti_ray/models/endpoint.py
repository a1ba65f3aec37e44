"""An OpenAI-compatible HTTP endpoint: the official client, with a limit on requests, patience and one-line errors.

The client retries by itself what may pass (rate limits, server errors, lost connections), after `Retry-After` or with
exponential backoff and jitter. Added here: while the endpoint says that nothing is left of a rate limit, no request of
this process is sent; no redirect is followed, so what is sent reaches the named host and no other; and no error repeats
the key, or anything of a refused key's answer.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpx2Client, DefaultHttpx2Client, OpenAI

from spti_ray.models.endpoint_options import EndpointOptions
from spti_ray.models.rate_limits import pause_after

T = TypeVar("T")

_REFUSED_CONTENT = {
    "content_filter",
    "content_policy_violation",
    "moderation_blocked",
    "invalid_prompt",
    "data_inspection_failed",
    "inappropriate_content",
    "prohibited_content",
    "safety_violation",
}
"""Codes of errors, in small letters."""
_MODERATED = re.compile(r"moderation|flagged|content[ _-]?(?:policy|filter)|usage (?:policy|guidelines)|safety", re.I)
"""What the message of a 403 says that is about the request, and not about the key."""
_TOO_MANY_ENQUEUED = {"token_limit_exceeded", "enqueued_token_limit_exceeded"}
_SECRET = re.compile(r"\b(?:sk|pk|gsk|xai)-[\w*-]{4,}|\bBearer\s+\S+")
"""Whatever looks like a key, or what is left of one."""


class ContentRefused(RuntimeError):
    """The endpoint's own filter took offence at one request; others are not concerned."""


class QueueFull(RuntimeError):
    """The endpoint takes a batch once others are done."""


class Endpoint:
    """Where an engine sends its requests. Construction asks it which models it has, to fail early if it is not there.

    `direct`: proxies of the environment are not used.

    Raises:
        ValueError: the key is not in the environment, is refused, or nobody answers.
    """

    def __init__(self, options: EndpointOptions, direct: bool = False) -> None:
        self._options = options
        self._key = _key_of(options)
        self._slots = asyncio.Semaphore(options.max_concurrent)
        self._resume_at = 0.0
        self.num_retried = 0
        """Requests that were sent again, each time counted."""
        self.paused_s = 0.0
        """Seconds that requests were held back for a rate limit, summed over requests."""
        common: dict[str, Any] = {
            "base_url": options.base_url,
            "api_key": self._key or "none",
            "timeout": options.timeout_s,
        }
        plain: dict[str, Any] = {"follow_redirects": False, "trust_env": not direct}
        self._check(OpenAI(**common, max_retries=min(2, options.max_retries), http_client=DefaultHttpx2Client(**plain)))
        hooks: Any = {"request": [self._wait_for_rate_limit], "response": [self._note_rate_limit]}
        http = DefaultAsyncHttpx2Client(**plain, event_hooks=hooks)
        self._client = AsyncOpenAI(**common, max_retries=options.max_retries, http_client=http)

    async def send(self, request: Callable[[AsyncOpenAI], Awaitable[T]]) -> T:
        """Send a request (`request` makes it with the client) when there is room for it.

        Raises:
            ContentRefused: by the endpoint's filter.
            RuntimeError: it failed for good; one line without the key.
        """
        async with self._slots:
            try:
                return await request(self._client)
            except openai.OpenAIError as error:
                failure = self._one_line_error(error)
        raise failure

    def request_body(self, **fields: Any) -> dict[str, Any]:
        """Arguments of a request: `fields` that the endpoint takes, and the configured others."""
        taken = {name: value for name, value in fields.items() if name not in self._options.leave_out}
        return taken | {"extra_body": taken.get("extra_body", {}) | self._options.extra}

    def error_from(self, event: str, body: Any) -> RuntimeError:
        """The error that an answer's `body` tells of, in one line without the key."""
        fields: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        line = self.error_line(f"{event}: {fields.get('message') or ''}")
        codes = {str(fields.get(name) or "").lower() for name in ("code", "type")}
        if codes & _TOO_MANY_ENQUEUED:
            return QueueFull(line)
        return ContentRefused(line) if codes & _REFUSED_CONTENT else RuntimeError(line)

    def error_line(self, event: str) -> str:
        """What happened at this endpoint, in one line without the key. Only what can be printed and encoded is kept."""
        event = printable(event)
        said = event.replace(self._key, "[key]") if self._key else event
        return " ".join(f"{self._options.base_url} {_SECRET.sub('[key]', said)}".split())[:300].rstrip(": ")

    def _check(self, client: OpenAI) -> None:
        with client:
            try:
                client.models.list()
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.APIConnectionError) as error:
                failure = ValueError(str(self._one_line_error(error)))
            except openai.OpenAIError:
                return  # It answers, and lists no models: not all endpoints do.
            else:
                return
        raise failure

    def _one_line_error(self, error: openai.OpenAIError) -> RuntimeError:
        """The error in one line. Answers to a refused key quote parts of it, so nothing of them is repeated."""
        where = self._options.base_url
        if isinstance(error, openai.PermissionDeniedError) and _is_content_refusal(error.body):
            return ContentRefused(str(self.error_from(f"answered {error.status_code}", error.body)))
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            named = f"the key in ${self._options.api_key_env}" if self._key else "requests without a key (api_key_env)"
            return RuntimeError(f"{where} refuses {named} (status {error.status_code})")
        if isinstance(error, openai.APITimeoutError):
            return RuntimeError(f"{where} did not answer within {self._options.timeout_s:g} s")
        if isinstance(error, openai.APIConnectionError):
            return RuntimeError(f"{where} can't be reached ({type(error.__cause__ or error).__name__})")
        if not isinstance(error, openai.APIStatusError):
            return RuntimeError(f"{where}: the answer can't be read ({type(error).__name__})")
        return self.error_from(f"answered {error.status_code}", error.body)

    async def _wait_for_rate_limit(self, request: Any) -> None:
        """Wait until the endpoint takes requests again. Those that waited come back one by one, not all at once."""
        while (pause := self._resume_at - time.monotonic()) > 0:
            pause += random.uniform(0, 0.1 * pause)
            self.paused_s += pause
            await asyncio.sleep(pause)
        self.num_retried += request.headers.get("x-stainless-retry-count", "0") != "0"

    async def _note_rate_limit(self, response: Any) -> None:
        pause = pause_after(response.status_code, response.headers)
        self._resume_at = max(self._resume_at, time.monotonic() + pause)


def printable(said: str) -> str:
    """An endpoint's words without what would steer a terminal, and without halves of surrogate pairs."""
    return "".join(sign for sign in said if sign.isprintable() or sign.isspace())


def _is_content_refusal(body: Any) -> bool:
    """Whether an answer with status 403 is about what was asked: moderation uses the status of a refused key."""
    if not isinstance(body, Mapping):
        return False
    metadata = body.get("metadata")
    reasons = isinstance(metadata, Mapping) and bool(metadata.get("reasons") or metadata.get("flagged_input"))
    codes = {str(body.get(name) or "").lower() for name in ("code", "type")}
    return reasons or bool(codes & _REFUSED_CONTENT) or bool(_MODERATED.search(str(body.get("message") or "")))


async def gather_or_cancel(answers: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All answers, in order; the first failure is raised, and what is still under way then is cancelled."""
    tasks = [asyncio.create_task(answer) for answer in answers]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()  # Those that are done are not touched.


def _key_of(options: EndpointOptions) -> str:
    name = options.api_key_env
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise ValueError(
            f"the environment variable {name}, which is to hold the key of {options.base_url}, is not set on this "
            "node: set it before Ray is started there, or correct options.api_key_env"
        )
    return key
