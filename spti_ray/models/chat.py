"""Turns prompts and questions about images into chat messages. Imports no heavy library."""

from __future__ import annotations

import re
from typing import Any

_ANSWERED = re.compile(r"^(?P<question>.*\(\d+ words?\):)\s+(?P<answer>\S.*)$")
"""A line of a few-shot prompt with an answer: `Filled (5 words): a red kite`. The prompt's last line has no answer."""


def few_shot_messages(prompt: str) -> list[dict[str, str]]:
    """A prompt of `public/prompts.py` as messages: each example is asked by the user and answered by the assistant.

    A prompt without examples becomes one message of the user.
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
    """The messages that ask a vision-language model a question about one image.

    The image comes first, as in the models' own examples.

    Args:
        question: The text.
        **image: The fields of the image's content part; `{"type": "image"}` by default.
    """
    return [{"role": "user", "content": [image or {"type": "image"}, {"type": "text", "text": question}]}]


def _turn(role: str, lines: list[str]) -> dict[str, str]:
    return {"role": role, "content": "\n".join(lines).strip()}
