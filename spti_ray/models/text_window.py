"""How much of a text a renderer reads: its text encoder keeps so many tokens, and drops the rest without a word.

Known from the checkpoint's files. Imports no heavy library: where `tokenizer.json` is here, `tokenizers` alone counts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from spti_ray.config import EngineConfig, PromptsConfig
from spti_ray.models.bundled import is_local, resolve_model
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.pipeline_files import PipelineFiles

log = logging.getLogger(__name__)

_LONGER: tuple[tuple[str, int, str], ...] = (
    ("StableDiffusion3", 256, "tokenizer_3"),
    ("Flux2", 512, "tokenizer"),
    ("Flux", 512, "tokenizer_2"),
    ("QwenImage", 512, "tokenizer"),
    ("ZImage", 512, "tokenizer"),
    ("Chroma", 512, "tokenizer"),
    ("PixArtSigma", 300, "tokenizer"),
    ("PixArtAlpha", 120, "tokenizer"),
    ("Sana", 300, "tokenizer"),
    ("Lumina", 256, "tokenizer"),
    ("CogView4", 1024, "tokenizer"),
    ("HiDreamImage", 128, "tokenizer_3"),
    ("Kolors", 256, "tokenizer"),
    ("BriaFibo", 3000, "tokenizer"),
    ("Bria", 128, "tokenizer"),
    ("AuraFlow", 256, "tokenizer"),
    ("OvisImage", 256, "tokenizer"),
)
"""(beginning of the class's name, default of `max_sequence_length`, the tokenizer of that encoder). Of two encoders it
is the one that reads more."""

_FIXED: tuple[tuple[str, int, str], ...] = (("HunyuanImage", 1000, "tokenizer"),)
"""The same of pipelines whose calls take no other number; its own words around a text are not counted."""

_CLIP = 77
"""What the text encoders of Stable Diffusion and SDXL keep."""

_TOKENS_PER_WORD = 1.35
"""Of English in CLIP's, T5's and Qwen's vocabularies, with punctuation, where no tokenizer is here to count."""

Count = Callable[[str], int]


@dataclass(frozen=True)
class TextWindow:
    """What a renderer reads of a text.

    Attributes:
        tokens: Most tokens, with those that the encoder adds.
        tokenizer: The component of the pipeline that counts them.
    """

    tokens: int
    tokenizer: str
    config: EngineConfig

    @classmethod
    def of(cls, config: EngineConfig) -> TextWindow | None:
        """That of a renderer; None where it is not known, as of one behind HTTP."""
        if config.kind != "diffusers":
            return None
        files = PipelineFiles.of(config)
        asked = DiffusersOptions.model_validate(config.options).extra.get("max_sequence_length")
        for family, tokens, tokenizer in _LONGER:
            if files.class_name.startswith(family):
                return cls(asked if isinstance(asked, int) else tokens, tokenizer, config)
        for family, tokens, tokenizer in _FIXED:
            if files.class_name.startswith(family):
                return cls(tokens, tokenizer, config)
        own = _own_length(files)
        if own or files.class_name.startswith("StableDiffusion"):
            return cls(own or _CLIP, "tokenizer", config)
        return None

    def limit(self, prompts: PromptsConfig) -> int | None:
        """The tokens at which texts are cut by `prompts.max_tokens_rendered`; None if they are not."""
        asked = prompts.max_tokens_rendered
        if asked == "none":
            return None
        return self.tokens if asked == "window" else min(asked, self.tokens)

    def counter(self, download: bool = False) -> Count | None:
        """Counts a text's tokens, with those that the encoder adds; None if the tokenizer is not here.

        Args:
            download: Whether transformers may load it, from the network too.
        """
        path = PipelineFiles.of(self.config).path(f"{self.tokenizer}/tokenizer.json")
        if path is not None:
            from tokenizers import Tokenizer

            fast = Tokenizer.from_file(str(path))
            fast.no_truncation()
            fast.no_padding()
            return lambda text: len(fast.encode(text).ids)
        if PipelineFiles.of(self.config).class_name.startswith("Kolors"):
            return self._counter_of_chatglm(download)
        if not download:
            return None
        from transformers import AutoTokenizer

        try:
            slow = AutoTokenizer.from_pretrained(
                resolve_model(self.config.model),
                subfolder=self.tokenizer,
                revision=self.config.revision,
                trust_remote_code=False,
            )
        except (OSError, ValueError, ImportError) as error:
            log.warning("the renderer's tokenizer can't be had: %s", " ".join(str(error).split())[:200])
            return None
        return lambda text: len(slow(text, truncation=False, verbose=False).input_ids)

    def _counter_of_chatglm(self, download: bool) -> Count | None:
        """Of a tokenizer that diffusers has for Kolors alone: a sentencepiece model, and two tokens before a text."""
        path = PipelineFiles.of(self.config).path(f"{self.tokenizer}/tokenizer.model")
        try:
            from sentencepiece import SentencePieceProcessor

            if path is None and download and not is_local(self.config.model):
                from huggingface_hub import hf_hub_download

                name = f"{self.tokenizer}/tokenizer.model"
                path = hf_hub_download(self.config.model, name, revision=self.config.revision)
            if path is None:
                return None
            pieces = SentencePieceProcessor(model_file=str(path))
        except (OSError, ValueError, ImportError) as error:
            log.warning("the renderer's tokenizer can't be had: %s", " ".join(str(error).split())[:200])
            return None
        return lambda text: len(pieces.encode(text)) + 2

    def estimate(self, text: str) -> int:
        """About how many tokens a text has."""
        return round(_TOKENS_PER_WORD * len(text.split())) + 2


def _own_length(files: PipelineFiles) -> int:
    """`model_max_length` of the checkpoint's tokenizer; 0 where it says none, or a number that means none."""
    path = files.path("tokenizer/tokenizer_config.json")
    if path is None:
        return 0
    try:
        length = json.loads(path.read_text(encoding="utf-8")).get("model_max_length", 0)
    except (OSError, ValueError, AttributeError):
        return 0
    return int(length) if isinstance(length, int) and 0 < length < 100_000 else 0
