"""Takes the text out of a language model's answer: no reasoning, no refusal, no truncated end. No heavy library.

An answer without any text is empty: a text is then asked for again, and a record gets no caption. Refusals, and
reasoning without marks, are recognised by how they begin (`refusal_patterns`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from spti_ray.models.refusal_patterns import REASONING, REFUSAL

_TAGS = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|antthinking|seed:think|analysis"
_REASONING_STARTS = re.compile(
    rf"<\s*(?:{_TAGS})\s*>|\[THINK\]|◁think▷|<\|(?:begin_of_thought|START_THINKING|think)\|>|"
    r"<\|channel\|>\s*(?:analysis|commentary)",
    re.IGNORECASE,
)
_REASONING_ENDS = re.compile(
    rf"<\s*/\s*(?:{_TAGS})\s*>|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|END_THINKING|/think)\|>|"
    r"<\|channel\|>\s*final\s*(?:<\|constrain\|>\w+\s*)?<\|message\|>",
    re.IGNORECASE,
)
# The channels of gpt-oss, whose marks decoders leave out: "analysisWe need ...assistantfinalA red kite".
_UNMARKED_ANALYSIS = re.compile(r"^\s*(?:analysis|commentary)(?=[A-Z])")
_UNMARKED_FINAL = re.compile(r"^\s*(?:(?:analysis|commentary)(?=[A-Z]).*assistant)?final(?=[A-Z])", re.DOTALL)
_WRAPPING = re.compile(
    r"</?(?:answer|response|output)>|<\|(?:begin_of_solution|end_of_solution|START_RESPONSE|END_RESPONSE|"
    r"return|end|message|start)\|>",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r".*[^\W\d_]{2}[.!?。।؟](?=\s)", re.DOTALL)


def answer_text(text: str, truncated: bool = False, opened: bool = False) -> str:
    """The part of an answer that is text, or "".

    Args:
        text: The whole answer.
        truncated: The limit of tokens ended it. Then only whole lines count, or of a single line whole sentences.
        opened: The prompt ended in the mark that begins reasoning, so the answer begins within it.
    """
    text = replace_lone_surrogates(text)
    closed = list(_REASONING_ENDS.finditer(text))
    if closed:
        text = text[closed[-1].end() :]
    elif bare := _UNMARKED_FINAL.match(text):
        text = text[bare.end() :]
    elif opened or _UNMARKED_ANALYSIS.match(text):
        return ""
    if _REASONING_STARTS.search(text):
        return ""
    if closed:
        text = _WRAPPING.sub("", text)
    if truncated:
        text = _without_truncated_end(text)
    return "" if is_refusal(text) or is_reasoning(text) else text


def replace_lone_surrogates(text: str) -> str:
    """`text` with a question mark for each lone half of a surrogate pair, which JSON allows and UTF-8 does not."""
    return text.encode("utf-8", "replace").decode()


def caption_text(text: str, truncated: bool = False, opened: bool = False) -> str:
    """`answer_text` on one line: a caption, or "" where there is none."""
    return " ".join(answer_text(text, truncated, opened).split())


def is_refusal(text: str) -> bool:
    """Whether a text begins as a refusal does."""
    return bool(REFUSAL.match(_beginning(text)))


def is_reasoning(text: str) -> bool:
    """Whether a text begins as reasoning (thinking aloud) does."""
    return bool(REASONING.match(_beginning(text)))


def prompt_opens_reasoning(prompt: str) -> bool:
    """Whether a prompt ends in the mark that begins reasoning, so that every answer begins within it."""
    opens = list(_REASONING_STARTS.finditer(prompt))
    return bool(opens) and not prompt[opens[-1].end() :].strip()


def reasoning_template_error(role: str, model: str) -> str:
    """The error line about a model of this role whose chat template opens reasoning (`prompt_opens_reasoning`)."""
    return (
        f"runtime.engines.{role}.model: the chat template of {model} begins each answer with reasoning, which leaves "
        "no room for a text; use a model without it, or turn it off in options.chat_template_kwargs"
    )


def template_arguments(template: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for a chat template: those `given`, and `enable_thinking: False` if the template knows of that.

    Args:
        template: The template's Jinja text, or a mapping of such texts for models that have several.
        given: The configured arguments, which come first.
    """
    template = "\n".join(map(str, template.values())) if isinstance(template, Mapping) else template
    return ({"enable_thinking": False} if "enable_thinking" in str(template or "") else {}) | dict(given)


def _without_truncated_end(text: str) -> str:
    """The text without its last line, or of a single line its whole sentences."""
    lines = text.rstrip(" \t").split("\n")
    if any(line.strip() for line in lines[:-1]):
        return "\n".join(lines[:-1])
    # With a space at the end, a sentence that ends exactly at the limit counts as whole.
    sentences = _SENTENCE.match(f"{text} ")
    return sentences.group() if sentences else ""


def _beginning(text: str) -> str:
    """The beginning of a text on one line, with plain apostrophes."""
    return " ".join(text[:400].replace("’", "'").replace("‘", "'").replace("ʼ", "'").replace("*", "").split())
