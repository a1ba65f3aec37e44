"""The writer behind an OpenAI-compatible endpoint: a company's, or vLLM's, SGLang's or llama.cpp's server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from spti_ray.config import EngineConfig
from spti_ray.models.chat import few_shot_turns
from spti_ray.models.endpoint import ContentRefused, Endpoint, together
from spti_ray.models.endpoint_options import OpenAIWriterOptions, price
from spti_ray.models.openai_batches import Batches, in_json
from spti_ray.types import Completions, WriteRequest

SEED_LIMIT = 1 << 31
"""Request seeds stay below it: some servers keep them in 32 bits, and those in JavaScript in 53."""


class OpenAIWriter:
    """Public prompts only. Whether a repeated request gives the same text is the endpoint's affair.

    A request that the endpoint's filter refuses gets empty texts, which are asked for again in other words.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = OpenAIWriterOptions.model_validate(config.options)
        self._endpoint = Endpoint(self._options)
        self._batches = Batches(self._endpoint, self._options.poll_s) if self._options.batch else None
        self._totals = dict.fromkeys(("requests", "prompt_tokens", "generation_tokens", "dollars"), 0.0)

    def identity(self) -> dict[str, str]:
        return {"kind": self.config.kind, "model": self.config.model, "revision": self.config.revision or "as served"}

    def usage(self) -> dict[str, float]:
        """Since the start: answers, their tokens and price, requests sent again, seconds held back for rate limits."""
        return self._totals | {"repeated": self._endpoint.num_repeated, "paused_s": self._endpoint.paused_s}

    async def write(self, requests: Sequence[WriteRequest]) -> list[Completions]:
        """Complete every request, as many at once as `max_concurrent` allows; with `batch` all in one batch.

        Raises:
            RuntimeError: the endpoint failed one of them for good.
        """
        if self._batches is not None:
            return await self._in_a_batch(self._batches, requests)
        return await together(self._complete(request) for request in requests)

    def close(self) -> None:
        """Connections end with the process: there is nothing to stop."""

    async def _complete(self, request: WriteRequest) -> Completions:
        body = self._body(request)
        try:
            if self._is_chat:
                answer = await self._endpoint.ask(lambda client: client.chat.completions.create(**body))
            else:
                answer = await self._endpoint.ask(lambda client: client.completions.create(**body))
        except ContentRefused:
            return Completions(("",) * request.n)
        return self._read(answer, request.n)

    async def _in_a_batch(self, batches: Batches, requests: Sequence[WriteRequest]) -> list[Completions]:
        where, kind = ("/v1/chat/completions", ChatCompletion) if self._is_chat else ("/v1/completions", Completion)
        answers = await batches.answers(where, [in_json(self._body(request)) for request in requests])
        completions: list[Completions] = []
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, ContentRefused):
                completions.append(Completions(("",) * request.n))
                continue
            try:
                completions.append(self._read(kind.model_validate(answer), request.n))
            except ValidationError:
                raise RuntimeError(f"{self._options.base_url}: an answer of a batch can't be read") from None
        return completions

    @property
    def _is_chat(self) -> bool:
        return self._options.prompt_format != "completion"

    def _body(self, request: WriteRequest) -> dict[str, Any]:
        """Arguments of the client's method for one request."""
        prompt = request.prompt
        turns = few_shot_turns(prompt) if self._options.prompt_format == "few-shot-chat" else None
        asked = {"messages": turns or [{"role": "user", "content": prompt}]} if self._is_chat else {"prompt": prompt}
        return asked | self._endpoint.body(
            model=self.config.model,
            n=request.n,
            seed=request.seed % SEED_LIMIT,
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            stop=list(request.stop) or None,
        )

    def _read(self, answer: Any, n: int) -> Completions:
        choices = sorted(answer.choices, key=lambda choice: choice.index)
        texts = [choice.message.content if hasattr(choice, "message") else choice.text for choice in choices]
        if len(texts) != n:
            raise RuntimeError(f"{self._options.base_url} gave {len(texts)} texts where {n} were asked for")
        usage = answer.usage
        given, written = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None) or 0
        dollars = price(self._options.prices, given, cached, written) if self._options.prices else 0.0
        for name, value in zip(self._totals, (1, given, written, dollars), strict=True):
            self._totals[name] += value
        return Completions(tuple(text or "" for text in texts), written, dollars)
