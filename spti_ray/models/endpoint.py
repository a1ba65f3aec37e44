"""Sends requests to an OpenAI-compatible HTTP endpoint by the official client.

The client itself retries rate limits, server errors and lost connections, after `Retry-After` or with exponential
backoff and jitter. This module adds:

- at most `max_concurrent` requests are under way at once;
- while the endpoint says that a rate limit is used up, this process sends no request;
- no redirect is followed, so that what is sent reaches the named host and no other;
- errors have one line, without the key and without the answer to a refused key.
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

SEED_LIMIT = 1 << 31
"""Seeds that are sent stay below this: some servers keep them in 32 bits, and those in JavaScript in 53."""

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
"""Codes of errors, in lower case, that mean: the endpoint's filter refused the content."""
_MODERATED = re.compile(r"moderation|flagged|content[ _-]?(?:policy|filter)|usage (?:policy|guidelines)|safety", re.I)
"""Words in the message of a 403 that is about the request, and not about the key."""
_TOO_MANY_ENQUEUED = {"token_limit_exceeded", "enqueued_token_limit_exceeded"}
_SECRET = re.compile(r"\b(?:sk|pk|gsk|xai)-[\w*-]{4,}|\bBearer\s+\S+")
"""What looks like a key, or like the rest of one."""


class ContentRefused(RuntimeError):
    """The endpoint's filter refused the content of one request. Other requests may still succeed."""


class QueueFull(RuntimeError):
    """The endpoint takes no more batches until others are done."""


class Endpoint:
    """The endpoint of one engine."""

    def __init__(self, options: EndpointOptions, direct: bool = False) -> None:
        """Ask the endpoint for its models, to fail early if it is not there.

        Args:
            options: Address, key and limits.
            direct: Do not use the proxies of the environment.

        Raises:
            ValueError: the key is not in the environment or is refused, or the endpoint does not answer.
        """
        self._options = options
        self._key = _key_of(options)
        self._slots = asyncio.Semaphore(options.max_concurrent)
        self._resume_at = 0.0
        self.num_retried = 0
        """How many times requests were sent again."""
        self.paused_s = 0.0
        """Seconds for which requests waited for a rate limit, summed over requests."""
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
        """Send a request as soon as fewer than `max_concurrent` are under way.

        Args:
            request: Makes the request with the client.

        Raises:
            ContentRefused: the endpoint's filter refused it.
            RuntimeError: it failed for good; one line without the key.
        """
        async with self._slots:
            try:
                return await request(self._client)
            except openai.OpenAIError as error:
                failure = self._one_line_error(error)
        raise failure

    def request_body(self, **fields: Any) -> dict[str, Any]:
        """Arguments of a request: `fields` without those that the endpoint does not take, and the configured others."""
        taken = {name: value for name, value in fields.items() if name not in self._options.leave_out}
        return taken | {"extra_body": taken.get("extra_body", {}) | self._options.extra}

    def error_from(self, event: str, body: Any) -> RuntimeError:
        """The error that an answer's body describes: one line that begins with `event`, without the key."""
        fields: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        # Servers made with FastAPI have a `detail` in place of OpenAI's `error`.
        line = self.error_line(f"{event}: {fields.get('message') or fields.get('detail') or ''}")
        codes = {str(fields.get(name) or "").lower() for name in ("code", "type")}
        if codes & _TOO_MANY_ENQUEUED:
            return QueueFull(line)
        return ContentRefused(line) if codes & _REFUSED_CONTENT else RuntimeError(line)

    def error_line(self, event: str) -> str:
        """One line about what happened at this endpoint, without the key and without unprintable characters."""
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
        """The error as one line. Answers to a refused key may quote parts of it, so nothing of them is repeated."""
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
        """Wait until the endpoint takes requests again, with jitter, so that not all requests return at once."""
        while (pause := self._resume_at - time.monotonic()) > 0:
            pause += random.uniform(0, 0.1 * pause)
            self.paused_s += pause
            await asyncio.sleep(pause)
        self.num_retried += request.headers.get("x-stainless-retry-count", "0") != "0"

    async def _note_rate_limit(self, response: Any) -> None:
        pause = pause_after(response.status_code, response.headers)
        self._resume_at = max(self._resume_at, time.monotonic() + pause)


def printable(said: str) -> str:
    """An endpoint's text without control characters and without lone halves of surrogate pairs."""
    return "".join(sign for sign in said if sign.isprintable() or sign.isspace())


def _is_content_refusal(body: Any) -> bool:
    """Whether an answer with status 403 is about the request's content. A refused key has the same status."""
    if not isinstance(body, Mapping):
        return False
    metadata = body.get("metadata")
    reasons = isinstance(metadata, Mapping) and bool(metadata.get("reasons") or metadata.get("flagged_input"))
    codes = {str(body.get(name) or "").lower() for name in ("code", "type")}
    return reasons or bool(codes & _REFUSED_CONTENT) or bool(_MODERATED.search(str(body.get("message") or "")))


async def gather_or_cancel(answers: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all answers, in order. The first failure is raised, and cancels those that are still under way."""
    tasks = [asyncio.create_task(answer) for answer in answers]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()  # This does nothing to tasks that are done.


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
