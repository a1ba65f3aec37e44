"""Reads the JSON of chat and text completions as endpoints really send it. Imports no heavy library.

A field that is missing, null or of a wrong type costs only the text that it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spti_ray.models.answers import answer_text, replace_lone_surrogates

_LONGEST_WORDS = 160
_TRUNCATED = {"length", "max_tokens", "max_output_tokens", "model_length"}
"""Values of `finish_reason`, in lower case, that mean: the limit of tokens ended the text."""
_FAILED = {
    "content_filter",
    "content-filter",
    "content_filtered",
    "refusal",
    "safety",
    "image_safety",
    "error",
    "blocklist",
    "prohibited_content",
    "image_prohibited_content",
    "recitation",
    "image_recitation",
    "sensitive",
    "spii",
    "model_armor",
    "guardrail_intervened",
}
"""Values of `finish_reason` that mean: the endpoint's filter, or a failure of the endpoint, ended the text."""


@dataclass(frozen=True)
class Answer:
    """One text for each that was asked for ("" where there is none), and what all of it cost in tokens.

    `problem`: why the first missing text is missing, in the endpoint's own words where it has any. `truncated`: whether
    the limit of tokens ended each text; empty if it ended none, or if such texts are dropped.
    """

    texts: tuple[str, ...]
    problem: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    truncated: tuple[bool, ...] = ()


def read_answer(document: Any, n: int, may_run_on: bool = False) -> Answer:
    """Read the answer to a request for `n` texts from its JSON. Never raises.

    Args:
        document: The parsed JSON, whatever it is.
        n: How many texts were asked for.
        may_run_on: The model continues a plain prompt and may not end by itself. Truncated texts are then kept, and
            marked: whoever uses a text decides whether anything is missing.
    """
    body = document if isinstance(document, Mapping) else {}
    prompt, cached, output = _usage(body.get("usage"))
    choices = _in_order(body.get("choices"))[:n]
    found = [_text(choice, may_run_on) for choice in choices]
    truncated = [isinstance(choice, Mapping) and _ended(choice) in _TRUNCATED for choice in choices]
    missing = _error_text(body.get("error")) or f"gave {len(found)} texts where {n} were asked for"
    found += [("", missing)] * (n - len(found))
    problem = next((problem for text, problem in found if not text), "")
    kept = (*truncated, *[False] * (n - len(truncated))) if may_run_on and any(truncated) else ()
    return Answer(tuple(text for text, _ in found), problem, prompt, cached, output, kept)


def _in_order(choices: Any) -> list[Any]:
    listed = list(choices) if isinstance(choices, Sequence) and not isinstance(choices, str) else []

    def place(choice: Any) -> int:
        index = choice.get("index") if isinstance(choice, Mapping) else None
        return index if isinstance(index, int) else len(listed)

    return sorted(listed, key=place)


def _text(choice: Any, may_run_on: bool) -> tuple[str, str]:
    """The text of one choice, and why there is none if there is none."""
    if not isinstance(choice, Mapping):
        return "", "gave a choice that can't be read"
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    ended = _ended(choice)
    refusal, content = message.get("refusal"), message.get("content", choice.get("text"))
    if isinstance(content, Sequence) and not isinstance(content, str):
        refusal = refusal or next((part.get("refusal") for part in content if _is_part(part, "refusal")), None)
        content = "".join(_part_text(part) for part in content)
    if refusal:
        return "", f"refused: {_shortened(refusal)}"
    if ended in _FAILED:
        return "", f"ended an answer with finish_reason {ended}" + (
            f": {said}" if (said := _error_text(choice)) else ""
        )
    raw = content if isinstance(content, str) else ""
    text = answer_text(raw, truncated=ended in _TRUNCATED and not may_run_on)
    if text.strip():
        return text, ""
    ending = f" (finish_reason {ended})" if ended else ""
    if raw.strip():
        return "", f"gave no text{ending} but: {_shortened(raw)}"
    thought = any(message.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details"))
    return "", f"gave {'nothing but reasoning' if thought else 'an empty answer'}{ending}"


def _ended(choice: Mapping[str, Any]) -> str:
    return str(choice.get("finish_reason") or "").lower()


def _is_part(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == kind


def _part_text(part: Any) -> str:
    """The text of one part of a message; parts of other kinds, such as `thinking`, are none."""
    if isinstance(part, str):
        return part
    text = part.get("text") if _is_part(part, "text") or _is_part(part, "output_text") else None
    return text if isinstance(text, str) else ""


def _usage(usage: Any) -> tuple[int, int, int]:
    """Tokens: of the prompt, of these from the cache, and of the output, reasoning included."""
    fields = usage if isinstance(usage, Mapping) else {}
    prompt, output = _count(fields.get("prompt_tokens")), _count(fields.get("completion_tokens"))
    details = fields.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else 0
    # Some endpoints charge for reasoning but leave it out of completion_tokens; the total includes it.
    return prompt, min(cached, prompt), max(output, _count(fields.get("total_tokens")) - prompt)


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15 else 0


def _error_text(holder: Any) -> str:
    """The text of an error: the error itself, its `message`, or that of its field `error`."""
    if isinstance(holder, str):
        return _shortened(holder)
    if not isinstance(holder, Mapping):
        return ""
    return _shortened(holder["message"]) if isinstance(holder.get("message"), str) else _error_text(holder.get("error"))


def _shortened(said: Any) -> str:
    line = " ".join(replace_lone_surrogates(str(said)).split())
    return line if len(line) <= _LONGEST_WORDS else f"{line[:_LONGEST_WORDS]}..."
