"""Uses the batch endpoint of OpenAI's protocol (/files, /batches): cheaper than single requests, done within 24 hours.

A batch is submitted with the hash of its requests as metadata. After a crash or a lost connection the batch is found by
that hash and waited for, so that it is not paid for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from openai import AsyncOpenAI
from openai.types import Batch

from spti_ray.models.endpoint import ContentRefused, Endpoint, QueueFull, printable
from spti_ray.models.endpoint_options import LONGEST_BATCH_S

log = logging.getLogger(__name__)

METADATA_KEY = "spti_requests"
"""The metadata's key for the hash."""

MAX_BATCHES = 3
"""Most batches for one set of requests: what one batch does not answer is asked again in the next."""

MAX_LISTED = 1000
"""How many of the account's newest batches are looked through for one with the same hash."""

LONGEST_POLL_S = 600.0
"""Longest pause before a batch is submitted again for which there was no room."""

Answers = dict[int, Mapping[str, Any] | RuntimeError]
"""By a request's number: the body of the answer, or why there is none."""

_UNDER_WAY = {"validating", "in_progress", "finalizing", "cancelling"}
_MAY_PASS = {408, 409, 429, *range(500, 600)}
"""HTTP statuses of single requests that are sent again."""


class BatchClient:
    """Sends requests in batches and waits for their answers."""

    def __init__(self, endpoint: Endpoint, poll_s: float) -> None:
        self._endpoint = endpoint
        self._poll_s = poll_s

    async def answers(self, where: str, bodies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | RuntimeError]:
        """Send requests in batches until all are answered, or `MAX_BATCHES` were sent.

        Args:
            where: The path of the requests, such as /v1/chat/completions.
            bodies: Their bodies.

        Returns:
            For each request the body of its answer, or why it has none.

        Raises:
            RuntimeError: the whole batch failed; one line without the key.
        """
        found: Answers = {}
        for number in range(MAX_BATCHES):
            left = [at for at in range(len(bodies)) if at not in found]
            if not left:
                break
            lines = [{"custom_id": str(at), "method": "POST", "url": where, "body": bodies[at]} for at in left]
            content = "\n".join(json.dumps(line, sort_keys=True) for line in lines)
            answered = await self._round(where, content, number)
            # A line may name a request that this batch did not have.
            found |= {at: answer for at, answer in answered.items() if at in left}
        unanswered = self._endpoint.error_from(
            f"left {len(bodies) - len(found)} requests unanswered in {MAX_BATCHES} batches", None
        )
        return [found.get(at, unanswered) for at in range(len(bodies))]

    async def _round(self, where: str, content: str, number: int) -> Answers:
        """The answers of one batch. Requests that failed, but may succeed the next time, are left out."""
        batch = await self._done(where, content, hashlib.sha256(f"{number}\n{content}".encode()).hexdigest())
        found: Answers = {}
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            text = await self._endpoint.send(lambda client: _content(client, file))  # noqa: B023
            for line in text.splitlines():
                self._read(line, found)
        return found

    async def _done(self, where: str, content: str, digest: str) -> Batch:
        """The batch with that hash, once it has ended. If there is none, it is submitted, until there is room."""
        started, pause = time.monotonic(), self._poll_s
        while True:
            try:
                return await self._ended(where, content, digest)
            except QueueFull as full:
                if time.monotonic() - started + pause > LONGEST_BATCH_S:
                    raise
                log.info("%s; submitted again in %g s", full, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, max(self._poll_s, LONGEST_POLL_S))

    async def _ended(self, where: str, content: str, digest: str) -> Batch:
        batch = await self._endpoint.send(lambda client: _find(client, digest))
        if batch is None:
            batch = await self._endpoint.send(lambda client: _submit(client, where, content, digest))
        said = ""
        while batch.status in _UNDER_WAY:
            if (now := _progress(batch)) != said:
                log.info("batch %s: %s", printable(batch.id), now)
                said = now
            await asyncio.sleep(self._poll_s)
            batch_id = batch.id
            batch = await self._endpoint.send(lambda client: client.batches.retrieve(batch_id))  # noqa: B023
        log.info("batch %s: %s", printable(batch.id), _progress(batch))
        if batch.status == "failed":
            errors = (batch.errors.data if batch.errors else None) or []
            raise self._endpoint.error_from(f"failed batch {batch.id}", errors[0].to_dict() if errors else None)
        return batch

    def _read(self, line: str, found: Answers) -> None:
        """Enter one line of a batch's files into `found`, unless its request may succeed the next time."""
        try:
            answer = json.loads(line)
            at, response, error = int(answer["custom_id"]), answer.get("response"), answer.get("error")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            log.warning("%s", self._endpoint.error_line("gave a line of a batch that can't be read"))
            return
        if not isinstance(response, Mapping):
            return  # The request was not sent, such as because the batch expired; `error` says so.
        status, body = response.get("status_code"), response.get("body")
        if status == 200:
            found[at] = body if isinstance(body, Mapping) else {}
            return
        said = body.get("error") if isinstance(body, Mapping) else None
        failure = self._endpoint.error_from(f"answered {status} in a batch", said or error)
        if isinstance(failure, ContentRefused) or status not in _MAY_PASS:
            found[at] = failure


def request_json(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body as JSON, from the arguments of the client's method."""
    fields = {name: value for name, value in body.items() if name != "extra_body" and value is not None}
    return fields | body.get("extra_body", {})


async def _find(client: AsyncOpenAI, digest: str) -> Batch | None:
    """The newest batch with that hash that has, or will have, answers."""
    seen = 0
    async for batch in client.batches.list(limit=100):
        counts = batch.request_counts
        # A batch in which every request failed cost nothing, and may succeed once the cause is fixed.
        useless = batch.status == "completed" and counts is not None and counts.completed == 0
        if (
            (batch.metadata or {}).get(METADATA_KEY) == digest
            and batch.status not in ("failed", "cancelled")
            and not useless
        ):
            return batch
        seen += 1
        if seen >= MAX_LISTED:
            break
    return None


async def _submit(client: AsyncOpenAI, where: Any, content: str, digest: str) -> Batch:
    file = await client.files.create(file=("requests.jsonl", content.encode()), purpose="batch")
    # Without retries: if the answer is lost, the batch may exist. The next attempt looks for it first.
    return await client.with_options(max_retries=0).batches.create(
        input_file_id=file.id, endpoint=where, completion_window="24h", metadata={METADATA_KEY: digest}
    )


async def _content(client: AsyncOpenAI, file: str) -> str:
    return (await client.files.content(file)).text


def _progress(batch: Batch) -> str:
    counts = batch.request_counts
    return printable(f"{batch.status}, {counts.completed} of {counts.total} done" if counts else batch.status)
