"""Prompts as the turns of a chat. Imports no heavy library."""

from __future__ import annotations

import re
from typing import Any

_ANSWERED = re.compile(r"^(?P<question>.*\(\d+ words?\):)\s+(?P<answer>\S.*)$")
"""A line of a few-shot prompt that holds an answer: `Filled (5 words): a red kite`. The last such line has none yet."""


def few_shot_messages(prompt: str) -> list[dict[str, str]]:
    """The messages of a prompt of `public/prompts.py`: each example asked by the user and answered by the assistant.

    A prompt without examples is one message of the user's.
    """
    turns: list[dict[str, str]] = []
    asked: list[str] = []
    for line in prompt.splitlines():
        answered = _ANSWERED.match(line)
        asked.append(answered["question"] if answered else line)
        if answered:
            turns += [_turn("user", asked), {"role": "assistant", "content": answered["answer"].rstrip()}]
            asked = []
    return [*turns, _turn("user", asked)]


def image_question(question: str, **image: Any) -> list[dict[str, Any]]:
    """The messages that ask a model that sees about one image; `image` is its content part, {"type": "image"} if empty.

    The image comes first, as the models' own examples have it.
    """
    return [{"role": "user", "content": [image or {"type": "image"}, {"type": "text", "text": question}]}]


def _turn(role: str, lines: list[str]) -> dict[str, str]:
    return {"role": role, "content": "\n".join(lines).strip()}
