"""A writer by vLLM, which batches continuously over the requests of all calls.

`write` may be called many times concurrently. Set `engine_process.engine_environment` before this module is imported:
vLLM reads its environment variables at import.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence
from typing import Any

from vllm import SamplingParams, TokensPrompt, envs
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMError
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from spti_ray.config import EngineConfig
from spti_ray.models.answers import answer_text, prompt_opens_reasoning, reasoning_template_error, template_arguments
from spti_ray.models.bundled import model_identity
from spti_ray.models.chat import few_shot_messages
from spti_ray.models.engine_errors import LONGEST, EngineNotBuilt
from spti_ray.models.options import VllmOptions
from spti_ray.models.output_tail import OutputTail
from spti_ray.models.protocols import EngineDead
from spti_ray.models.vllm_arguments import BLOCK_TOKENS, TOP_P_ARGUMENT, writer_arguments
from spti_ray.models.vllm_in_process import EngineInProcess
from spti_ray.models.vllm_stats import EngineStats
from spti_ray.types import Completions, WriteRequest

SHARED_PREFIX_TOKENS = 64
"""Least length of a common prefix that is computed once before the requests."""

SEED_LIMIT = 1 << 62
"""Seeds of requests stay below this: the samples of a request use seed + index, in a signed 64-bit number."""


class VllmWriter:
    """A language model in vLLM, on the GPUs that the process can see (`AsyncLLM`) or on CPU (`EngineInProcess`).

    A completion depends only on its request (prompt, seed, index among `n`), up to rounding: what else is in the batch
    can change the last bits, and so tip a sampled token.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = VllmOptions.model_validate(config.options)
        self._output_tokens = 0
        self._ids = itertools.count()
        self._warm_prefixes: dict[tuple[int, ...], asyncio.Event] = {}
        self._on_cpu = current_platform.is_cpu()
        self._stats = EngineStats()
        self._engine = self._started(AsyncEngineArgs(**writer_arguments(config, self._on_cpu)))
        self._tokenizer = self._engine.get_tokenizer()
        self._template_arguments = template_arguments(
            getattr(self._tokenizer, "chat_template", None), self._options.chat_template_kwargs
        )
        if self._options.prompt_format != "completion":
            self._must_not_open_reasoning()

    @property
    def output_tokens(self) -> int:
        """Tokens generated since the start."""
        return self._output_tokens

    def stats(self) -> dict[str, float]:
        """vLLM's metrics, as `EngineStats` names them; all are 0 unless the option `stats` is on."""
        return self._stats.now(idle=not self._engine.output_processor.has_unfinished_requests())

    def identity(self) -> dict[str, str]:
        return model_identity(self.config.kind, self.config.model, self.config.revision)

    async def write(self, requests: Sequence[WriteRequest]) -> list[Completions]:
        """Complete every request. All requests are decoded together, with those of other calls.

        Raises:
            EngineDead: the process must be replaced.
            RuntimeError: vLLM refused or failed a request; the engine lives.
        """
        prompts = [self._encode(request.prompt) for request in requests]
        if len(prompts) > 1:
            await self._warm(tuple(os.path.commonprefix(prompts)))  # noqa: RUF071 - of token lists
        return await self._gather(requests, prompts)

    async def sleep(self) -> None:
        """Move the weights to the machine's memory and drop the KV cache; on CPU nothing is freed."""
        # Cached prefixes go with the KV cache.
        self._warm_prefixes.clear()
        if not self._on_cpu:
            await self._engine.sleep(level=1)

    async def wake(self) -> None:
        """Move the weights back, and make an empty KV cache."""
        if not self._on_cpu:
            await self._engine.wake_up()

    def close(self) -> None:
        """Stop the engine. The writer can't be used afterwards."""
        self._engine.shutdown()
        # vLLM's finaliser shuts down once more, which fails with a long message while the interpreter exits.
        self._engine.shutdown = lambda timeout=None: None

    def _started(self, arguments: AsyncEngineArgs) -> Any:
        """vLLM's engine: in this process, or in processes of its own.

        Raises:
            EngineNotBuilt: it, or one of them, could not start; one line, for a process with what it printed.
        """
        loggers: Any = [lambda config, index: self._stats] if self._options.stats else None
        # `engine_process.engine_environment` says so on CPU. Several workers are processes in any case.
        alone = self._on_cpu and arguments.distributed_executor_backend == "uni"
        if alone and not envs.VLLM_ENABLE_V1_MULTIPROCESSING:
            return EngineInProcess(arguments, loggers)
        tail = OutputTail()
        try:
            with tail:
                return AsyncLLM.from_engine_args(arguments, stat_loggers=loggers)
        except RuntimeError as error:
            if reason := tail.reason():
                raise EngineNotBuilt(f"vLLM could not start its engine: {reason[:LONGEST]}") from error
            raise

    def _encode(self, prompt: str) -> list[int]:
        if self._options.prompt_format == "completion":
            return self._tokenizer.encode(prompt)
        few_shot = self._options.prompt_format == "few-shot-chat"
        turns: Any = few_shot_messages(prompt) if few_shot else [{"role": "user", "content": prompt}]
        encoded: Any = self._tokenizer.apply_chat_template(
            turns,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            **self._template_arguments,
        )
        return encoded

    def _must_not_open_reasoning(self) -> None:
        """Raises ValueError where the chat template begins each answer with reasoning."""
        prompt: Any = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": "a kite"}],
            add_generation_prompt=True,
            tokenize=False,
            **self._template_arguments,
        )
        if prompt_opens_reasoning(prompt):
            self.close()
            raise ValueError(reasoning_template_error("writer", self.config.model))

    async def _warm(self, prefix: tuple[int, ...]) -> None:
        """Put the requests' common prefix into vLLM's cache, once.

        With a cold cache, requests that arrive together would each compute the shared few-shot block: measured 7 s for
        32 requests of 130 tokens on CPU.
        """
        # Only whole blocks are cached. Without the rest, calls that differ in their targets have the same key.
        prefix = prefix[: len(prefix) // BLOCK_TOKENS * BLOCK_TOKENS]
        if len(prefix) < SHARED_PREFIX_TOKENS:
            return
        warm = self._warm_prefixes.get(prefix)
        if warm is None:
            warm = self._warm_prefixes[prefix] = asyncio.Event()
            try:
                await self._generate(list(prefix), SamplingParams(max_tokens=1, temperature=0.0, detokenize=False))
            except BaseException:
                del self._warm_prefixes[prefix]
                raise
            finally:
                warm.set()
        await warm.wait()

    async def _gather(self, requests: Sequence[WriteRequest], prompts: Sequence[list[int]]) -> list[Completions]:
        tasks = [
            asyncio.create_task(self._complete(request, prompt))
            for request, prompt in zip(requests, prompts, strict=True)
        ]
        try:
            # No TaskGroup: it would wrap EngineDead in an ExceptionGroup.
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # vLLM aborts a cancelled request; this does nothing to tasks that are done.

    async def _complete(self, request: WriteRequest, prompt: list[int]) -> Completions:
        sampling = SamplingParams(
            n=request.n,
            seed=request.seed % SEED_LIMIT,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            stop=list(request.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        if request.top_p < 1.0 and self._on_cpu:
            sampling.extra_args = {TOP_P_ARGUMENT: request.top_p}
        else:
            sampling.top_p = request.top_p
        output = await self._generate(prompt, sampling)
        tokens = sum(len(completion.token_ids) for completion in output.outputs)
        self._output_tokens += tokens
        ordered = sorted(output.outputs, key=lambda completion: completion.index)
        truncated = tuple(completion.finish_reason == "length" for completion in ordered)
        if self._options.prompt_format == "completion":
            # These models run on: what the limit cut off may not have been wanted.
            return Completions(
                tuple(completion.text for completion in ordered), tokens, truncated=truncated if any(truncated) else ()
            )
        texts = tuple(answer_text(one.text, truncated=cut) for one, cut in zip(ordered, truncated, strict=True))
        missing = next((one for one, text in zip(ordered, texts, strict=True) if not text.strip()), None)
        problem = f"no text (finish_reason {missing.finish_reason}) but: {missing.text[:160]!r}" if missing else ""
        return Completions(texts, tokens, problem=problem)

    async def _generate(self, prompt: list[int], sampling: SamplingParams) -> Any:
        final = None
        try:
            async for output in self._engine.generate(
                TokensPrompt(prompt_token_ids=prompt), sampling, request_id=f"w{next(self._ids)}"
            ):
                final = output
        except EngineDeadError as error:
            raise EngineDead("vLLM's engine died") from error
        except (VLLMError, ValueError) as error:  # EngineGenerateError among them
            reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
            raise RuntimeError(f"vLLM failed a request: {reason[0][:300]}") from None
        if final is None:
            raise RuntimeError("vLLM failed a request: it returned no output")
        return final
