# pyright: strict
"""Captions of private images, in a wrapper that does not show its text by accident."""

from __future__ import annotations

from typing import Any, NoReturn, final

_REFUSED = "captions are private"

NO_CAPTION = "an image"
"""Public text in place of a missing caption, so that a batch keeps its shape."""


@final
class PrivateText:
    """PRIVATE: the caption of one record. `reveal` gives the text, for the text embedder and nobody else.

    Its repr shows no text; str, format, join, concatenation, pickling, copying and serialising to JSON raise
    `TypeError`. Two captions are equal only if they are the same object, so comparing them reveals nothing.
    tests/test_boundary.py lists who may call `reveal`.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The caption itself."""
        return self.__text

    def __repr__(self) -> str:
        # Not refused, since a debugger, a log line or a traceback that shows locals would fail on it.
        return "<PrivateText: private>"

    def __str__(self) -> NoReturn:
        raise TypeError(f"{_REFUSED} and have no str()")

    def __format__(self, format_spec: str) -> NoReturn:
        raise TypeError(f"{_REFUSED} and are never formatted")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{_REFUSED} and are never pickled")

    def __getstate__(self) -> Any:
        raise TypeError(f"{_REFUSED} and are never pickled")
