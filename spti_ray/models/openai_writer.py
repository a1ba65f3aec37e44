"""A writer behind an OpenAI-compatible endpoint: a company's, or a server of vLLM, SGLang or llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from spti_ray.config import EngineConfig
from spti_ray.models.chat import few_shot_messages
from spti_ray.models.endpoint import SEED_LIMIT, ContentRefused, Endpoint, gather_or_cancel
from spti_ray.models.endpoint_answers import Answer, read_answer
from spti_ray.models.endpoint_options import OpenAIWriterOptions, price
from spti_ray.models.openai_batches import BatchClient, request_json
from spti_ray.types import Completions, WriteRequest


class OpenAIWriter:
    """Completes public prompts. The endpoint decides whether a repeated request gives the same text.

    A request that the endpoint refuses, or answers without text, gets empty texts, which are asked for again in other
    words. All answers are counted and priced.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = OpenAIWriterOptions.model_validate(config.options)
        self._endpoint = Endpoint(self._options)
        self._batches = BatchClient(self._endpoint, self._options.poll_s) if self._options.batch else None
        self._totals = dict.fromkeys(("requests", "prompt_tokens", "generation_tokens", "dollars"), 0.0)

    def identity(self) -> dict[str, str]:
        return {"kind": self.config.kind, "model": self.config.model, "revision": self.config.revision or "as served"}

    def usage(self) -> dict[str, float]:
        """Totals since the start: answers, their tokens and price, requests sent again, seconds waited for limits."""
        return self._totals | {"repeated": self._endpoint.num_retried, "paused_s": self._endpoint.paused_s}

    async def write(self, requests: Sequence[WriteRequest]) -> list[Completions]:
        """Complete every request, at most `max_concurrent` at once; with the option `batch` all in one batch.

        If a request has no answer, only its own texts are empty.

        Raises:
            RuntimeError: the endpoint failed all of them, and not because of what they say.
        """
        answers = await (self._in_a_batch(self._batches, requests) if self._batches else self._each(requests))
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        if failures and len(failures) == len(answers):
            other = [failure for failure in failures if not isinstance(failure, ContentRefused)]
            if other:
                raise other[0]
        return [self._completed(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def close(self) -> None:
        """Connections end with the process: there is nothing to stop."""

    async def _each(self, requests: Sequence[WriteRequest]) -> list[Answer | RuntimeError]:
        return await gather_or_cancel(self._one(request) for request in requests)

    async def _one(self, request: WriteRequest) -> Answer | RuntimeError:
        body = self._body(request)
        try:
            if self._is_chat:
                raw = await self._endpoint.send(lambda client: client.chat.completions.with_raw_response.create(**body))
            else:
                raw = await self._endpoint.send(lambda client: client.completions.with_raw_response.create(**body))
        except RuntimeError as failure:
            return failure
        try:
            return read_answer(json.loads(raw.content), request.n, may_run_on=not self._is_chat)
        except (ValueError, RecursionError):
            return RuntimeError(self._endpoint.error_line("gave an answer that is no JSON"))

    async def _in_a_batch(self, batches: BatchClient, requests: Sequence[WriteRequest]) -> list[Answer | RuntimeError]:
        where = "/v1/chat/completions" if self._is_chat else "/v1/completions"
        answers = await batches.answers(where, [request_json(self._body(request)) for request in requests])
        return [
            answer if isinstance(answer, RuntimeError) else read_answer(answer, request.n, may_run_on=not self._is_chat)
            for request, answer in zip(requests, answers, strict=True)
        ]

    @property
    def _is_chat(self) -> bool:
        return self._options.prompt_format != "completion"

    def _body(self, request: WriteRequest) -> dict[str, Any]:
        """Arguments of the client's method for one request."""
        prompt = request.prompt
        messages = few_shot_messages(prompt) if self._options.prompt_format == "few-shot-chat" else None
        asked = {"messages": messages or [{"role": "user", "content": prompt}]} if self._is_chat else {"prompt": prompt}
        return asked | self._endpoint.request_body(
            model=self.config.model,
            n=request.n,
            seed=request.seed % SEED_LIMIT,
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            stop=list(request.stop) or None,
        )

    def _completed(self, request: WriteRequest, answer: Answer | RuntimeError) -> Completions:
        """The completions of a request; its tokens and price are added to the totals, even if no text is usable."""
        if isinstance(answer, RuntimeError):
            return Completions(("",) * request.n, problem=str(answer))
        prompt, cached, output = answer.prompt_tokens, answer.cached_tokens, answer.output_tokens
        dollars = price(self._options.prices, prompt, cached, output) if self._options.prices else 0.0
        for name, value in zip(self._totals, (1, prompt, output, dollars), strict=True):
            self._totals[name] += value
        problem = self._endpoint.error_line(answer.problem) if answer.problem else ""
        return Completions(answer.texts, output, dollars, problem, answer.truncated)
