"""Cuts texts to what the renderer reads, before they are voted on: the text that votes is the text that is rendered."""

from __future__ import annotations

from dataclasses import dataclass

from spti_ray.config import Config
from spti_ray.models.factory import engines_config
from spti_ray.models.text_window import Count, TextWindow
from spti_ray.public.cleaning import without_dangling


@dataclass(frozen=True)
class TextLimit:
    """The tokens at which texts are cut.

    Attributes:
        tokens: Most tokens of a text.
        count: Counts the tokens of a text.
        cuts: Whether texts are cut here; else the renderer's encoder does it, and they are only counted.
    """

    tokens: int
    count: Count
    cuts: bool = True

    @classmethod
    def of(cls, config: Config) -> TextLimit | None:
        """That of a run; None if it is not known, or nobody here can count (the log then says why)."""
        window = TextWindow.of(engines_config(config.runtime.engines).renderer)
        if window is None:
            return None
        limit = window.limit(config.prompts)
        count = window.counter(download=True)
        return None if count is None else cls(limit or window.tokens, count, cuts=limit is not None)

    def applied(self, text: str) -> tuple[str, bool]:
        """The text as far as it fits, in whole words, and whether it was too long."""
        if self.count(text) <= self.tokens:
            return text, False
        if not self.cuts:
            return text, True
        words = text.split(" ")
        while words and self.count(" ".join(words)) > self.tokens:
            words.pop()
        return without_dangling(words), True
