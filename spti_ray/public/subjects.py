"""Whether a new text is still about what was asked for: its label, and the theme that its parent's votes were for.

A small writer that is told to change a text leaves its subject in two of five, and what is vague ("a whole thing") is
near to everything. So the text embedder, which sees public texts alone, compares a new text with the names of the
labels and with the texts of the last themes; a text that strayed is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from spti_ray.public.engines import Engines
from spti_ray.public.themes import Theme
from spti_ray.types import Candidate, FloatArray

_NEAREST_THEMES = 3
"""A text holds its theme if that is among so many nearest ones: themes of one label have siblings."""


class Asked(Protocol):
    """What a text was asked for."""

    @property
    def label(self) -> str: ...

    @property
    def parent(self) -> Candidate | None: ...


_Asked = TypeVar("_Asked", bound=Asked)


class Subjects:
    """Compares new texts with the labels and themes that they were asked for."""

    def __init__(self, engines: Engines, labels: Mapping[str, str]) -> None:
        """Prepare comparisons.

        Args:
            engines: Has the text embedder.
            labels: What each label is called in prompts; may be empty.
        """
        self._engines = engines
        self._labels = labels
        self._texts_of_themes: list[list[str]] = []
        self._theme_of: dict[str, int] = {}
        self._label_rows: dict[str, FloatArray | None] = {}
        self._theme_rows: list[FloatArray | None] | None = None

    def learn(self, themes: Sequence[Theme], texts_of: Mapping[str, str]) -> None:
        """Take the themes that were voted on last; none if candidates were.

        Args:
            themes: The themes.
            texts_of: The text of each of their members, by its id.
        """
        self._texts_of_themes = [[texts_of[member] for member in theme.members] for theme in themes]
        self._theme_of = {member: i for i, theme in enumerate(themes) for member in theme.members}
        self._theme_rows = None

    def holding(self, texts: Iterable[tuple[_Asked, str]]) -> Iterator[tuple[_Asked, str, bool]]:
        """Whether each text holds the subject that was asked for: a stream of what it was given, in the same order.

        A text that can't be embedded is taken to hold it: nobody can tell.
        """
        self._embed_subjects()
        pending: list[tuple[_Asked, str]] = []

        def noted() -> Iterator[str]:
            for asked, text in texts:
                pending.append((asked, text))
                yield text

        for i, row_E in enumerate(self._engines.embed_texts(noted())):
            asked, text = pending[i]
            yield asked, text, row_E is None or self._holds(row_E, asked)

    def _holds(self, row_E: FloatArray, asked: Asked) -> bool:
        own = self._label_rows.get(asked.label)
        others = [row for name, row in self._label_rows.items() if name != asked.label and row is not None]
        if own is not None and any(float(row_E @ other) > float(row_E @ own) for other in others):
            return False
        rows = self._theme_rows or []
        theme = self._theme_of.get(asked.parent.id) if asked.parent else None
        mine = rows[theme] if theme is not None else None
        if mine is None:
            return True
        return sum(float(row_E @ row) > float(row_E @ mine) for row in rows if row is not None) < _NEAREST_THEMES

    def _embed_subjects(self) -> None:
        """Embed labels and themes, if that has not been done: the mean of its texts stands for a theme."""
        if self._labels and not self._label_rows:
            rows = list(self._engines.embed_texts(self._labels.values()))
            self._label_rows = dict(zip(self._labels, rows, strict=True))
        if self._theme_rows is None:
            rows = iter(list(self._engines.embed_texts(text for texts in self._texts_of_themes for text in texts)))
            self._theme_rows = [_direction([next(rows) for _ in texts]) for texts in self._texts_of_themes]


def _direction(rows: Sequence[FloatArray | None]) -> FloatArray | None:
    """The direction of the mean of the rows [E] that there are; None if it has none."""
    found = [row for row in rows if row is not None]
    if not found:
        return None
    mean_E = np.mean(found, axis=0)
    norm = float(np.linalg.norm(mean_E))
    return (mean_E / norm).astype(np.float32) if norm > 0 else None
