"""Whether a new text is still about what was asked for: its label, and its parent's theme or kind.

A small writer that is told to change a text leaves its subject in two of five, and what is vague ("a whole thing") is
near to everything. So the text embedder, which sees public texts alone, compares a new text with the names of the
labels and with the texts of the last generation's kinds; a text that strayed is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from spti_ray.public.counted import made_of
from spti_ray.public.engines import Engines
from spti_ray.public.themes import Theme
from spti_ray.types import Candidate, FloatArray

_NEAREST_THEMES = 3
"""A text holds its theme if that is among so many nearest ones: themes of one label have siblings."""


_NONE: FloatArray = np.zeros((0, 1), np.float32)


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
        self._label_rows_LE = _NONE
        self._theme_rows_CE = _NONE

    def learn(self, themes: Sequence[Theme], texts_of: Mapping[str, str]) -> None:
        """Take the themes of the last generation; where it was voted on candidate by candidate, groups of similar ones.

        Args:
            themes: The themes.
            texts_of: The text of each of their members, by its id.
        """
        self._texts_of_themes = [[texts_of[member] for member in theme.members] for theme in themes]
        self._theme_of = {member: i for i, theme in enumerate(themes) for member in theme.members}
        self._theme_rows_CE = _NONE

    def holding(self, texts: Iterable[tuple[_Asked, str]]) -> Iterator[tuple[_Asked, str, bool]]:
        """Whether each text holds the subject that was asked for: a stream of what it was given, in the same order.

        A text that can't be embedded is taken to hold it: nobody can tell.
        """
        self._embed_subjects()
        pending: list[tuple[_Asked, str]] = []

        source = iter(texts)

        def noted() -> Iterator[str]:
            for asked, text in source:
                pending.append((asked, text))
                yield text

        for i, row_E in enumerate(self._engines.embed_texts(made_of(source, noted()))):
            asked, text = pending[i]
            yield asked, text, row_E is None or self._holds(row_E, asked)

    def _holds(self, row_E: FloatArray, asked: Asked) -> bool:
        # Where something could not be embedded its row is NaN, than which nothing is nearer or farther.
        if asked.label in self._labels:
            to_labels_L = _similarities(row_E, self._label_rows_LE)
            if (to_labels_L > to_labels_L[list(self._labels).index(asked.label)]).any():
                return False
        theme = self._theme_of.get(asked.parent.id) if asked.parent else None
        if theme is None:
            return True
        to_themes_C = _similarities(row_E, self._theme_rows_CE)
        return int((to_themes_C > to_themes_C[theme]).sum()) < _NEAREST_THEMES

    def _embed_subjects(self) -> None:
        """Embed labels and themes, if that has not been done: the mean of its texts stands for a theme."""
        if self._labels and not len(self._label_rows_LE):
            self._label_rows_LE = self._directions([[name] for name in self._labels.values()])
        if self._theme_of and not len(self._theme_rows_CE):
            self._theme_rows_CE = self._directions(self._texts_of_themes)

    def _directions(self, groups: Sequence[Sequence[str]]) -> FloatArray:
        """The direction of the mean of each group of texts [G, E]; NaN if it has none."""
        rows = list(self._engines.embed_texts([text for group in groups for text in group]))
        width = next((len(row_E) for row_E in rows if row_E is not None), 1)
        rest = iter(rows)
        means_GE = np.full((len(groups), width), np.nan, np.float32)
        for mean_E, group in zip(means_GE, groups, strict=True):
            found = [row_E for row_E in (next(rest) for _ in group) if row_E is not None]
            norm = float(np.linalg.norm(np.mean(found, axis=0))) if found else 0.0
            if norm:
                mean_E[:] = np.mean(found, axis=0) / norm
        return means_GE


def _similarities(row_E: FloatArray, rows_GE: FloatArray) -> FloatArray:
    """Of a row to each of some others [G]; NaN if none of these could be embedded, so that their width is not known."""
    return rows_GE @ row_E if rows_GE.shape[1] == len(row_E) else np.full(len(rows_GE), np.nan, np.float32)
