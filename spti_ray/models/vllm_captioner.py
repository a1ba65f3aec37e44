"""A captioner by vLLM: any vision-language chat model (such as Qwen-VL), in its own chat template, greedy.

Set `engine_process.engine_environment` before this module is imported: vLLM reads its environment variables at import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from vllm import LLM, SamplingParams
from vllm.platforms import current_platform
from vllm.v1.engine.exceptions import EngineDeadError

from spti_ray.config import EngineConfig
from spti_ray.models.answers import caption_text, prompt_opens_reasoning, reasoning_template_error, template_arguments
from spti_ray.models.bundled import model_identity
from spti_ray.models.chat import image_question
from spti_ray.models.checkpoints import explain_missing_package
from spti_ray.models.options import VllmVisionOptions
from spti_ray.models.pixels import shrink_to_side
from spti_ray.models.protocols import EngineDead
from spti_ray.models.vllm_arguments import captioner_arguments
from spti_ray.types import ImageArray


class VllmCaptioner:
    """Captions images by an engine in this process, on one GPU or on CPU, without caches of prefixes or pixels.

    The vision encoder's output of an image stays in memory until later images need the room. It leaves the process as
    little as the image does.

    A caption depends only on its image, up to rounding: what else is in the batch can change the last bits, and so tip
    a token. With `max_num_seqs: 1` nothing else is in the batch.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = VllmVisionOptions.model_validate(config.options)
        arguments = captioner_arguments(config, current_platform.is_cpu())
        self._engine: Any = explain_missing_package(arguments["model"], lambda: LLM(**arguments))
        tokenizer = self._engine.get_tokenizer()
        self._template_arguments = template_arguments(
            getattr(tokenizer, "chat_template", None), self._options.chat_template_kwargs
        )
        self._must_not_open_reasoning(tokenizer)
        self._sampling = SamplingParams(temperature=0.0, max_tokens=self._options.max_tokens)

    def identity(self) -> dict[str, str]:
        return model_identity(self.config.kind, self.config.model, self.config.revision)

    def caption(self, images: Sequence[ImageArray]) -> list[str]:
        """Return one caption per HWC uint8 RGB image of any size; "" for one of which the model gives none.

        Raises:
            EngineDead: the process must be replaced.
            RuntimeError: vLLM refused an image, such as one of too many tokens; the engine lives.
        """
        if not len(images):
            return []
        try:
            answers = self._engine.chat(
                [self._messages(image) for image in images],
                self._sampling,
                use_tqdm=False,
                chat_template_kwargs=self._template_arguments or None,
            )
        except Exception as error:
            # A step that fails leaves its requests in the engine, and the next call would get their answers.
            if isinstance(error, EngineDeadError) or self._engine.llm_engine.has_unfinished_requests():
                raise EngineDead("vLLM's engine died") from error
            raise RuntimeError(f"vLLM refused an image ({type(error).__name__})") from None
        # The user set the limit of tokens, so a truncated caption still counts.
        return [caption_text(answer.outputs[0].text) for answer in answers]

    def _must_not_open_reasoning(self, tokenizer: Any) -> None:
        """Raises ValueError where the chat template begins each answer with reasoning."""
        try:
            prompt: Any = tokenizer.apply_chat_template(
                image_question(self._options.prompt),
                add_generation_prompt=True,
                tokenize=False,
                **self._template_arguments,
            )
        except Exception:  # noqa: BLE001 the template may be the processor's, or take only text: vLLM will report that
            return
        if prompt_opens_reasoning(prompt):
            raise ValueError(reasoning_template_error("captioner", self.config.model))

    def _messages(self, image: ImageArray) -> list[dict[str, Any]]:
        picture = Image.fromarray(shrink_to_side(image, self._options.max_side))
        return image_question(self._options.prompt, type="image_pil", image_pil=picture)
