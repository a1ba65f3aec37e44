"""Embeds candidates in the voting spaces, and keeps renders and embeddings, so that survivors cost nothing.

Image voting renders a candidate and embeds the render; caption voting embeds its text; joint voting does both.
With `lookahead: L` the embedding is the mean over L variations of the candidate (Private Evolution's lookahead,
arXiv 2305.15560, section 4), re-normalised; variations of its text, or of its image where candidates are images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field

import numpy as np

from spti_ray.config import Config
from spti_ray.errors import NothingMade
from spti_ray.public.counted import made_of
from spti_ray.public.engines import Engines, RenderJob
from spti_ray.public.render_jobs import Recipes
from spti_ray.types import Candidate, Candidates, FloatArray, Image, RenderedImage, ScoredCandidates, Space

Show = Callable[[ScoredCandidates], None]
"""Takes a block of embedded candidates while others are still being made."""

_MOST_MISSING = 0.9
"""From this share of candidates without an embedding, a vote is worth nothing."""

_LEAST_BLOCK = 256
_MOST_BLOCKS = 8
"""Most blocks of a generation. For each block every shard reads its records once more, so blocks are large and few."""


@dataclass
class ScoreCache:
    """Embeddings (rows [E] by space and candidate id) and voted renders of candidates, kept for later generations."""

    rows: dict[Space, dict[str, FloatArray]] = field(default_factory=lambda: {"image": {}, "text": {}})
    renders: MutableMapping[str, RenderedImage] = field(default_factory=dict[str, RenderedImage])

    def render_of(self, candidate_id: str) -> RenderedImage | None:
        """The candidate's voted render, if there is one."""
        return self.renders.get(candidate_id)

    def keep_only(self, ids: set[str]) -> None:
        """Forget all other candidates, so that memory does not grow with the generations."""
        for space, rows in self.rows.items():
            self.rows[space] = {key: row for key, row in rows.items() if key in ids}
        for key in [key for key in self.renders if key not in ids]:
            del self.renders[key]


class _Blocks:
    """Collects embedded candidates until there are enough for a block."""

    def __init__(self, total: int, show: Callable[[list[Candidate]], None]) -> None:
        self._size = max(_LEAST_BLOCK, -(-total // _MOST_BLOCKS))
        self._show = show
        self._waiting: list[Candidate] = []

    def add(self, candidate: Candidate) -> None:
        self._waiting.append(candidate)
        if len(self._waiting) == self._size:
            self._show(self._waiting)
            self._waiting = []


class Scoring:
    """Turns a stream of candidates into `ScoredCandidates`; renders and embeds only what the cache lacks."""

    def __init__(
        self,
        config: Config,
        engines: Engines,
        variations: Callable[[Iterable[Candidate], int], Iterator[Candidate]],
        cache: ScoreCache,
        are_images: bool = False,
    ) -> None:
        """Prepare scoring.

        Args:
            config: The run's configuration.
            engines: Has the renderer and the embedders.
            variations: Makes a number of variations of each candidate, for lookahead.
            cache: Embeddings and renders of candidates.
            are_images: Whether candidates are images; else they are texts.
        """
        self._config = config
        self._engines = engines
        self._variations = variations
        self.cache = cache
        self._are_images = are_images
        self._recipes = Recipes(config, cache.render_of, are_images)

    def embed(self, candidates: Iterable[Candidate], show: Show = lambda block: None) -> ScoredCandidates:
        """Embed a stream of candidates. Texts are rendered and embedded while later ones are still written.

        Args:
            candidates: The stream, which is consumed.
            show: Takes blocks of candidates as soon as they are embedded in all spaces. No candidate is shown twice,
                and the last ones, which do not fill a block, are not shown.

        Returns:
            All candidates in the order of their ids, with [K, E] embeddings by space; NaN where there is none.
        """
        weights = self._config.evolution.spaces
        everyone: dict[str, Candidate] = {}
        blocks = _Blocks(self._config.evolution.candidates, lambda block: show(self._scored(block)))

        source = iter(candidates)

        def fresh() -> Iterator[Candidate]:
            for candidate in source:
                everyone[candidate.id] = candidate
                if any(candidate.id not in self.cache.rows[space] for space in weights):
                    yield candidate
                else:
                    blocks.add(candidate)

        def embedded(candidate_id: str) -> None:
            if all(candidate_id in self.cache.rows[space] for space in weights):
                blocks.add(everyone[candidate_id])

        # The first space pulls the stream; what it consumed is there for the second.
        lookahead = self._config.evolution.lookahead
        stream: Iterator[Candidate] = made_of(source, fresh())
        if lookahead:
            # Variations of an image need the image itself, which may be released.
            origins = self._with_renders(stream) if self._are_images else stream
            stream = self._variations(origins, lookahead)
        for space in weights:
            stream = iter(self._embed_space(space, stream, embedded))
        self.cache.keep_only(set(everyone))
        return self._scored(everyone.values())

    def check(self, scored: ScoredCandidates) -> None:
        """Check that enough candidates have an embedding, without which they can get no vote.

        Raises:
            NothingMade: nine tenths of the candidates have none.
        """
        for space, matrix_KE in scored.embeddings_KE.items():
            missing = int(np.isnan(matrix_KE).any(axis=1).sum())
            if missing >= _MOST_MISSING * len(matrix_KE):
                role = "renderer or image_embedder" if space == "image" else "text_embedder"
                raise NothingMade(
                    f"runtime.engines: {role}: {missing} of the {len(matrix_KE)} candidates could not be rendered or "
                    f"embedded, so the run ends before anything of the generation is charged; see internal/driver.log"
                )

    def _embed_space(
        self, space: Space, stream: Iterator[Candidate], embedded: Callable[[str], None]
    ) -> list[Candidate]:
        """Embed each candidate, or the variations that stand for it, in one space; return what was consumed.

        `embedded` is called with the id of each candidate that has its row.
        """
        points: list[Candidate] = []
        lookahead = self._config.evolution.lookahead

        def noted() -> Iterator[Candidate]:
            for point in stream:
                points.append(point)
                yield point

        embedded_of = self._image_rows if space == "image" else self._text_rows
        rows = embedded_of(made_of(stream, noted()))
        members: dict[str, list[FloatArray | None]] = {}
        for i, row in enumerate(rows):
            owner = points[i].parent_id if lookahead else points[i].id
            if owner is None:
                raise ValueError(f"variation {points[i].id} does not name its candidate")
            members.setdefault(owner, []).append(row)
            if len(members[owner]) == max(1, lookahead):
                found_E = [row_E for row_E in members.pop(owner) if row_E is not None]
                if found_E:
                    self.cache.rows[space][owner] = _normalised(np.mean(found_E, axis=0))
                    embedded(owner)
        return points

    def _rendered(self, points: Iterator[Candidate]) -> Iterator[tuple[Candidate, Image | None]]:
        """Render each candidate and keep what was made of it."""
        submitted: list[Candidate] = []

        def jobs() -> Iterator[RenderJob]:
            for candidate in points:
                submitted.append(candidate)
                yield self._recipes.job(candidate)

        pngs = self._engines.render(made_of(points, jobs()))

        def kept() -> Iterator[tuple[Candidate, Image | None]]:
            for i, png in enumerate(pngs):
                candidate = submitted[i]
                if png is not None:
                    seed = self._recipes.seed(candidate.id, 0)
                    self.cache.renders[candidate.id] = RenderedImage(candidate.id, 0, seed, png)
                yield candidate, png

        return made_of(pngs, kept())

    def _with_renders(self, points: Iterator[Candidate]) -> Iterator[Candidate]:
        """Render each candidate; one that can't be rendered has no variations, and so gets no votes."""
        rendered = self._rendered(points)
        return made_of(rendered, (candidate for candidate, png in rendered if png is not None))

    def _image_rows(self, points: Iterator[Candidate]) -> Iterator[FloatArray | None]:
        """Render and embed; an image that could not be rendered has no row."""
        pngs = self._rendered(points)
        rendered: list[bool] = []

        def images() -> Iterator[Image]:
            for _, png in pngs:
                rendered.append(png is not None)
                if png is not None:
                    yield png

        position = 0
        for row in self._engines.embed_images(made_of(pngs, images())):
            while not rendered[position]:
                position += 1
                yield None
            position += 1
            yield row
        yield from (None for _ in rendered[position:])

    def _text_rows(self, points: Iterator[Candidate]) -> Iterator[FloatArray | None]:
        return self._engines.embed_texts(made_of(points, (point.text for point in points)))

    def _scored(self, candidates: Iterable[Candidate]) -> ScoredCandidates:
        weights = self._config.evolution.spaces
        ordered = Candidates(tuple(sorted(candidates, key=lambda candidate: candidate.id)))
        return ScoredCandidates(ordered, {space: self._matrix(space, ordered) for space in weights}, weights)

    def _matrix(self, space: Space, candidates: Candidates) -> FloatArray:
        """[K, E] rows in id order; a candidate without an embedding gets NaN, and so no votes."""
        rows = self.cache.rows[space]
        width = next((len(rows[c.id]) for c in candidates if c.id in rows), None)
        if width is None:
            raise NothingMade(f"no candidate could be embedded in the {space} space; see internal/driver.log")
        missing = np.full(width, np.nan, dtype=np.float32)
        return np.stack([rows.get(candidate.id, missing) for candidate in candidates]).astype(np.float32)


def _normalised(row_E: FloatArray) -> FloatArray:
    norm = float(np.linalg.norm(row_E))
    return (row_E / norm if norm > 0 else np.full_like(row_E, np.nan)).astype(np.float32)
