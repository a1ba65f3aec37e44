"""Renders the released texts. This is post-processing of noised counts: more images cost no privacy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spti_ray.config import FiltersConfig
from spti_ray.errors import NothingMade
from spti_ray.io.images import read_png
from spti_ray.models.pixels import from_png, to_png
from spti_ray.public.acceptance import Acceptance, Seen
from spti_ray.public.counted import counted
from spti_ray.public.engines import Engines
from spti_ray.public.image_writer import ImageWriter
from spti_ray.public.measured_stream import Lost, measured
from spti_ray.public.rejections import Rejections
from spti_ray.public.render_jobs import Recipes
from spti_ray.public.replacements import Places, Wanted, not_made_line
from spti_ray.types import Candidate, Image, ReleaseItem, RenderedImage

log = logging.getLogger(__name__)

HOPELESS = 32
"""Where so many renders of one round, or more, are all filtered, no further ones are tried."""


@dataclass(frozen=True)
class Filtering:
    """The filters of a release, the file that keeps what they do not accept, and what `Places` is told of themes."""

    filters: FiltersConfig
    rejections: Path
    themes: Mapping[str, str] = field(default_factory=dict[str, str])


def render_release(
    staging: Path,
    allotted: Sequence[tuple[Candidate, int]],
    voted: Mapping[str, RenderedImage],
    engines: Engines,
    recipes: Recipes,
    made: Callable[[ReleaseItem], Image | None] = lambda item: None,
    filtering: Filtering | None = None,
    packet: str | None = None,
) -> list[ReleaseItem]:
    """Write `staging/images/NNNNN.png` for each image of the release.

    The first image of a text is the render that was voted on, where there is one. Images that an interrupted run left
    are kept. An image that can't be made, or that a filter does not accept, is replaced by another (`replacements`);
    one that was lost before it was written is rendered again.

    All places are asked once before any is asked again, and are decided in order. So what is decided does not depend on
    when a render arrives, and a run that goes on decides alike. Where a place has nothing left to try, its first render
    stays although a filter does not accept it: counts and quotas hold. One of which nothing could be made stays empty.

    Args:
        staging: The folder that becomes the release.
        allotted: The candidates, and the number of images of each.
        voted: Renders that were voted on, by candidate id.
        engines: Has the renderer, and the embedders that filters need.
        recipes: Defines the job of each image.
        made: Finds the PNG of an item that was rendered before.
        filtering: The filters, if there are any.
        packet: The XMP that each image gets, also in place of another; None for images as they come.

    Returns:
        The items of the images that are there.

    Raises:
        NothingMade: not one image could be rendered.
        DiskFull: no space left.
    """
    (staging / "images").mkdir(parents=True, exist_ok=True)
    with ImageWriter(staging, packet) as writer:
        rendering = _Rendering(staging, allotted, voted, engines, recipes, made, writer, filtering)
        if filtering is None:
            rendering.rounds()
        else:
            rendering.filtered_rounds(filtering.filters)
    items = rendering.items()
    if filtering is None and (line := not_made_line([item.file for item in items], recipes.images)):
        log.warning("%s", line)
    return items


class _Rendering:
    """The rounds of one release: in each, every place that is still empty is tried once more."""

    def __init__(
        self,
        staging: Path,
        allotted: Sequence[tuple[Candidate, int]],
        voted: Mapping[str, RenderedImage],
        engines: Engines,
        recipes: Recipes,
        made: Callable[[ReleaseItem], Image | None],
        writer: ImageWriter,
        filtering: Filtering | None,
    ) -> None:
        self._staging, self._engines, self._recipes, self._writer = staging, engines, recipes, writer
        self._allotted, self._voted, self._made = allotted, voted, made
        self._known = set(voted)
        self._rejections = Rejections(filtering.rejections) if filtering else None
        filters, themes = (filtering.filters, filtering.themes) if filtering else (None, {})
        self._places = Places(allotted, recipes.seed, recipes.images, filters, themes)
        there = {f"images/{path.name}" for path in (staging / "images").iterdir()}
        found = (self._places.found(place, there) for place in range(len(self._places)))
        self._filled = {wanted.place: wanted for wanted in found if wanted}
        """What fills each place, as far as that is decided."""
        self._earlier = set(self._filled)
        """Places that an earlier start has filled."""

    def items(self) -> list[ReleaseItem]:
        """Of the images that are there, in the order of their places."""
        return [self._filled[place].item for place in sorted(self._filled)]

    def rounds(self) -> None:
        """Without filters, whatever is made is accepted."""
        for number in range(self._places.most + 1):
            self._make([self._places.at(place, number) for place in self._empty()])

    def filtered_rounds(self, filters: FiltersConfig) -> None:
        """With filters; what stays although none accepted it is written in the end."""
        assert self._rejections is not None
        acceptance = Acceptance(filters, [candidate for candidate, _ in self._allotted], self._engines)
        try:
            for number in range(self._places.most + 1):
                self._decide(number, filters, acceptance, self._rejections)
                self._rejections.settle()
                if self._is_hopeless(number, self._rejections):
                    log.warning("release.filters: no render of round %d was accepted: no more are tried", number)
                    break
        finally:
            self._rejections.close()
        self._make([first for place in self._empty() if (first := self._first_made(place))])

    def _empty(self) -> list[int]:
        return [place for place in range(len(self._places)) if place not in self._filled]

    def _make(self, wanted: Sequence[Wanted]) -> None:
        """Write images, those first that need not be rendered; a place of which none can be made stays empty."""
        missing: list[Wanted] = []
        for one in wanted:
            image = self._at_hand(one)
            if image is None:
                missing.append(one)
                continue
            self._put(one, image)
        while wanted:
            for one, image in zip(missing, self._rendered(missing), strict=True):
                if image is not None:
                    self._put(one, image)
            self._check_something_is_made()
            lost = self._writer.finish()
            missing = [one for one in wanted if one.item.file in lost]
            for one in missing:
                del self._filled[one.place]
            if not missing:
                return

    def _put(self, one: Wanted, image: Image) -> None:
        self._filled[one.place] = one
        self._writer.put(one.item.file, image)

    def _decide(self, number: int, filters: FiltersConfig, acceptance: Acceptance, rejections: Rejections) -> None:
        """One round with filters, from 0: its places in order."""
        turn = list(self._turn(number, compared=filters.duplicate is not None))
        embedder = self._engines if filters.embeds_images else None
        while turn:
            begun, turn = turn, []
            for at, (one, found, embedding) in enumerate(measured(self._images(begun), embedder)):
                if isinstance(found, Lost):
                    # It is rendered again, and what comes after it is decided after it.
                    turn = begun[at:]
                    break
                if found is None:
                    continue
                seen = Seen(one.item.file, one.candidate, found, embedding)
                is_decided = one.place in self._earlier
                if not is_decided and (why := acceptance.why_not(seen)):
                    rejections.add(one.item.file, *why)
                    continue
                acceptance.accept(seen)
                if not is_decided:
                    self._put(one, found.png)
        self._writer.finish()
        self._check_something_is_made()

    def _turn(self, number: int, compared: bool) -> Iterator[Wanted]:
        """What a round decides, in order. If images are compared, those too that an earlier start accepted in it."""
        assert self._rejections is not None
        for place in range(len(self._places)):
            there = self._filled.get(place)
            if there is None:
                if self._places.file(place, number) not in self._rejections:
                    yield self._places.at(place, number)
            elif compared and self._was_accepted(there, number):
                yield there

    def _was_accepted(self, there: Wanted, number: int) -> bool:
        """Whether an earlier start accepted in round `number` what is there; not if it only stayed."""
        is_kept = self._rejections is not None and there.item.file in self._rejections
        return there.place in self._earlier and there.replaced == number and not is_kept

    def _images(self, turn: Sequence[Wanted]) -> Iterator[tuple[Wanted, Image | None]]:
        """The image of each, in order; None where none could be made."""
        at_hand = [self._at_hand(one) for one in turn]
        rendered = self._rendered([one for one, image in zip(turn, at_hand, strict=True) if image is None])
        for one, image in zip(turn, at_hand, strict=True):
            yield one, next(rendered) if image is None else image

    def _rendered(self, wanted: Sequence[Wanted]) -> Iterator[Image | None]:
        # One by one, since each job may hold an image.
        level = self._recipes.png_level
        jobs = counted((self._recipes.job(one.candidate, one.item.variant, level) for one in wanted), len(wanted))
        yield from self._engines.render(jobs) if wanted else ()

    def _at_hand(self, one: Wanted) -> Image | None:
        """An image that need not be rendered: an earlier start's, a voted one, or one of another run."""
        item = one.item
        if one.place in self._earlier:
            return _InFile(self._staging / item.file)
        if item.variant == 0 and item.candidate_id in self._known:
            return _VotedRender(self._voted, item.candidate_id, self._recipes.png_level)
        return self._made(item)

    def _is_hopeless(self, number: int, rejections: Rejections) -> bool:
        """Whether a round has filtered many renders, and accepted none."""
        if any(one.replaced == number and one.item.file not in rejections for one in self._filled.values()):
            return False
        files = (self._places.file(place, number) for place in range(len(self._places)))
        return sum(file in rejections for file in files) >= HOPELESS

    def _first_made(self, place: int) -> Wanted | None:
        """The first render of a place, which no filter accepted; None if none was made."""
        assert self._rejections is not None
        tries = range(self._places.most + 1)
        made = (number for number in tries if self._places.file(place, number) in (self._rejections or ()))
        return next((self._places.at(place, number) for number in made), None)

    def _check_something_is_made(self) -> None:
        if not self._filled and not self._rejections:
            raise NothingMade("no image of the release could be rendered; see internal/driver.log")


@dataclass(frozen=True)
class _VotedRender:
    """The render that was voted on, read when it is written, and compressed as the release is.

    Always anew, whatever it was compressed by: so the bytes are a function of the pixels and the setting alone.
    """

    voted: Mapping[str, RenderedImage]
    candidate_id: str
    png_level: int
    num_bytes: int = 0

    def read(self) -> bytes:
        return to_png(from_png(bytes(read_png(self.voted[self.candidate_id].png))), self.png_level)


@dataclass(frozen=True)
class _InFile:
    """An image of the release that is written already."""

    path: Path
    num_bytes: int = 0

    def read(self) -> bytes:
        return self.path.read_bytes()
