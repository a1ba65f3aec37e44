"""The filters of a release: what they accept, what takes the place of what they do not, and that nothing else moves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spti_ray.config import EngineConfig, FiltersConfig
from spti_ray.errors import NothingMade
from spti_ray.models.pixels import to_png
from spti_ray.public.filtered import FILTERS_KEY, Filtered, FiltersUnreadable, filtered_in, with_filtered
from spti_ray.public.rejections import Rejections
from spti_ray.public.render_jobs import Recipes
from spti_ray.public.rendering import HOPELESS, Filtering, render_release
from spti_ray.public.replacements import Places
from spti_ray.types import Candidate, ImageLost, ReleaseItem, RenderedImage
from tests.filter_engines import JointImages, JointTexts, PlantingRenderer, picture
from tests.unit.conftest import LocalEngines, config_with

LABELS = ("pets", "rides")
ALL = {"blank": {}, "duplicate": {}, "mismatch": {"others": 5, "max_rank": 3}}


def allotment(texts: int, images: int, labels: Iterable[str] = LABELS) -> list[tuple[Candidate, int]]:
    return [
        (Candidate(f"g01-{n:05d}", f"text {n} of {label}", label, 1), images)
        for n, label in enumerate(label for label in labels for _ in range(texts))
    ]


class Engines(LocalEngines):
    """`stop`: after so many renders the run is killed. `bad`: options of the renderer."""

    def __init__(self, bad: dict[str, float], batch_size: int = 3, stop: int | None = None, lose: Any = ()) -> None:
        super().__init__(batch_size)
        self._renderer = PlantingRenderer(EngineConfig(kind="r", options=bad))
        self._image_embedder = JointImages(EngineConfig(kind="i"))
        self._text_embedder = JointTexts(EngineConfig(kind="t"))
        self._stop, self._lose, self.made = stop, set(lose), 0

    def _render(self, batch):
        images = self._renderer.render([job.text for job in batch], [job.seed for job in batch])
        return [None if image is None else to_png(image) for image in images]

    def render(self, jobs):
        for image in super().render(jobs):
            if self.made == self._stop:
                raise KeyboardInterrupt
            lost = self.made in self._lose
            self.made += 1
            yield Lost() if lost else image


class Lost:
    num_bytes = 9

    def read(self) -> bytes:
        raise ImageLost


def release(
    folder: Path,
    allotted: list[tuple[Candidate, int]],
    engines: Engines,
    filters: dict[str, Any],
    voted: dict[str, RenderedImage] | None = None,
    themes: dict[str, str] | None = None,
) -> list[ReleaseItem]:
    folder.mkdir(exist_ok=True)
    count = sum(images for _, images in allotted)
    config = config_with(runtime__seed=5, release={"images": count, "filters": filters})
    filtering = Filtering(FiltersConfig.model_validate(filters), folder / "rejected.jsonl", themes or {})
    return render_release(
        folder / "staging", allotted, voted or {}, engines, Recipes(config, {}.get), filtering=filtering
    )


def counts(folder: Path, items: list[ReleaseItem], filters: dict[str, Any], images: int) -> Filtered:
    config = config_with(release={"images": images, "filters": filters})
    found = Filtered.of(config, items, Rejections(folder / "rejected.jsonl"))
    assert found is not None
    return found


def images_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "staging" / "images").iterdir()}


BAD = st.fixed_dictionaries(
    {what: st.sampled_from([0.0, 0.2, 0.5]) for what in ("blank", "same", "other")} | {"none": st.just(0.0)}
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=BAD, texts=st.integers(1, 4), images=st.integers(1, 3), on=st.sets(st.sampled_from(sorted(ALL)), min_size=1))
def test_counts_and_quotas_hold_whatever_is_filtered(tmp_path_factory, bad, texts, images, on):
    folder, allotted = tmp_path_factory.mktemp("r"), allotment(texts, images)
    filters = {name: ALL[name] for name in on}
    items = release(folder, allotted, Engines(bad), filters)
    assert Counter(item.label for item in items) == dict.fromkeys(LABELS, texts * images)
    assert set(images_in(folder)) == {item.file[7:] for item in items}
    assert {(item.text, item.label) for item in items} <= {(c.text, c.label) for c, _ in allotted}
    assert len({(item.candidate_id, item.variant) for item in items}) == len(items), "no image is there twice"
    found = counts(folder, items, filters, len(items))
    assert found.not_made == found.missing == 0 and set(found.rejected) <= on
    unmoved = sum(int(item.file[7:12]) < len(items) for item in items)
    assert unmoved + found.other_seeds + found.other_texts >= len(items) - len(found.kept)


@settings(max_examples=12, deadline=None)
@given(
    bad=BAD, stops=st.lists(st.integers(1, 25), max_size=3), batch=st.integers(1, 7), lose=st.sets(st.integers(0, 9))
)
def test_a_run_that_is_stopped_and_goes_on_makes_the_same_release(tmp_path_factory, bad, stops, batch, lose):
    allotted, one = allotment(3, 2), tmp_path_factory.mktemp("one")
    bad = bad | {"none": 0.1}
    whole = release(one, allotted, Engines(bad), ALL)
    other = tmp_path_factory.mktemp("other")
    for stop in stops:
        with suppress(KeyboardInterrupt):
            release(other, allotted, Engines(bad, batch, stop), ALL)
    # Neither the batches nor a machine that is lost decides anything.
    again = release(other, allotted, Engines(bad, batch, lose=lose), ALL)
    assert again == whole and images_in(other) == images_in(one)
    assert counts(other, again, ALL, 12) == counts(one, whole, ALL, 12)
    # And what is finished is not made again.
    assert release(other, allotted, (third := Engines(bad)), ALL) == whole
    assert images_in(other) == images_in(one)
    assert len(whole) < 12 or third.render_jobs == []


def test_a_stop_at_any_image_gives_the_same_release(tmp_path):
    bad, allotted = {"blank": 0.3, "same": 0.3}, allotment(3, 2)
    whole = release(tmp_path / "one", allotted, Engines(bad), ALL)
    renders = Engines(bad)
    assert release(tmp_path / "two", allotted, renders, ALL) == whole and renders.made > 15
    for stop in range(renders.made):
        folder = tmp_path / f"stopped-{stop}"
        with pytest.raises(KeyboardInterrupt):
            release(folder, allotted, Engines(bad, 2, stop), ALL)
        assert release(folder, allotted, Engines(bad, 2), ALL) == whole
        assert images_in(folder) == images_in(tmp_path / "one")
        assert counts(folder, whole, ALL, 12) == counts(tmp_path / "one", whole, ALL, 12)


def seeds_of(allotted: list[tuple[Candidate, int]], place: int, filters: dict[str, Any]) -> list[int]:
    """The seeds that are tried at a place, the first one first."""
    count = sum(images for _, images in allotted)
    recipes = Recipes(config_with(runtime__seed=5), {}.get)
    places = Places(allotted, recipes.seed, count, FiltersConfig.model_validate(filters))
    return [places.at(place, number).item.seed for number in range(places.most + 1)]


class Planted(Engines):
    """What is drawn from some seeds is replaced; None: it can't be drawn."""

    def __init__(self, instead: dict[int, np.ndarray | None]) -> None:
        super().__init__({})
        self._instead = instead

    def _render(self, batch):
        drawn = (self._instead.get(job.seed, picture(job.text, job.seed)) for job in batch)
        return [None if image is None else to_png(image) for image in drawn]


GREY = np.full((32, 32, 3), 90, np.uint8)


def test_a_blank_render_is_replaced_from_another_seed_and_then_from_the_next_text_of_its_label(tmp_path):
    allotted, filters = allotment(2, 1), {"blank": {}}
    tries = seeds_of(allotted, 0, filters)
    nearly = GREY.copy()
    nearly[0, :8] += 20  # a line of noise is no picture
    items = release(tmp_path / "a", allotted, Planted({tries[0]: nearly}), filters)
    assert [item.file[7:12] for item in items] == ["00004", "00001", "00002", "00003"]
    assert items[0].text == allotted[0][0].text and items[0].variant == 4
    items = release(tmp_path / "b", allotted, Planted(dict.fromkeys(tries[:3], GREY)), filters)
    assert items[0].file == "images/00012.png" and items[0].text == allotted[1][0].text
    found = counts(tmp_path / "b", items, filters, 4)
    assert (found.rejected, found.other_seeds, found.other_texts, found.kept) == ({"blank": 3}, 0, 1, {})
    # The next start finds what took the place, and renders nothing.
    assert release(tmp_path / "b", allotted, (again := Engines({})), filters) == items and again.made == 0


def test_a_render_that_repeats_another_texts_image_is_replaced_and_the_first_one_stays(tmp_path):
    allotted, filters = allotment(3, 2, ["all"]), {"duplicate": {}}
    same = picture("anything", 1)
    first = [seeds_of(allotted, place, filters)[0] for place in range(6)]
    # Places 0 and 1 are of one text, and may look alike; 2 and 5 are of others.
    engines = Planted({first[0]: same, first[1]: same, first[2]: same, first[5]: same ^ 1})
    items = release(tmp_path, allotted, engines, filters)
    assert [int(item.file[7:12]) for item in items] == [0, 1, 8, 3, 4, 11]
    rows = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [(row["file"], row["reason"], row["of"]) for row in rows] == [
        ("images/00002.png", "duplicate", "images/00000.png"),
        ("images/00005.png", "duplicate", "images/00000.png"),
    ]
    assert rows[0]["difference"] == 0 and 0 < rows[1]["difference"] <= 1


def test_images_are_compared_by_their_embeddings_where_that_is_asked_for(tmp_path):
    allotted = allotment(3, 1, ["all"])
    filters = {"duplicate": {"max_difference": None, "min_similarity": 0.999}}
    first = [seeds_of(allotted, place, filters)[0] for place in range(3)]
    # Two pictures whose pixels differ, and which this embedder takes for one thing.
    engines = Planted({first[1]: picture("x", 1), first[2]: picture("x", 2)})
    items = release(tmp_path, allotted, engines, filters)
    assert [int(item.file[7:12]) for item in items] == [0, 1, 5]
    assert counts(tmp_path, items, filters, 3).rejected == {"duplicate": 1}


def test_a_render_of_something_else_is_replaced(tmp_path):
    allotted, filters = allotment(6, 1, ["all"]), {"mismatch": {"others": 5, "max_rank": 1}}
    seed = seeds_of(allotted, 2, filters)[0]
    items = release(tmp_path / "a", allotted, Planted({seed: picture(allotted[4][0].text, 1)}), filters)
    assert [int(item.file[7:12]) for item in items] == [0, 1, 8, 3, 4, 5]
    row = json.loads((tmp_path / "a/rejected.jsonl").read_text())
    assert row["reason"] == "mismatch" and row["rank"] > 1 and -1 < row["similarity"] < 1
    by_similarity = {"mismatch": {"max_rank": None, "min_similarity": 0.98}}
    seed = seeds_of(allotted, 2, by_similarity)[0]
    items = release(tmp_path / "b", allotted, Planted({seed: picture(allotted[4][0].text, 1)}), by_similarity)
    assert [int(item.file[7:12]) for item in items] == [0, 1, 8, 3, 4, 5]


def test_a_voted_render_is_filtered_too(tmp_path):
    allotted, filters = allotment(2, 1, ["all"]), {"blank": {}}
    voted = {c.id: RenderedImage(c.id, 0, 1, to_png(GREY)) for c, _ in allotted[:1]}
    items = release(tmp_path, allotted, Engines({}), filters, voted)
    assert [int(item.file[7:12]) for item in items] == [2, 1]


def test_an_image_stays_where_no_render_of_its_place_is_accepted_and_it_is_the_voted_one(tmp_path):
    allotted, filters = allotment(2, 1, ["all"]), {"blank": {}, "other_seeds": 1, "other_texts": 1}
    tries = seeds_of(allotted, 0, filters)
    engines = Planted(dict.fromkeys(tries, GREY))
    voted = {allotted[0][0].id: RenderedImage(allotted[0][0].id, 0, 1, to_png(GREY + 1))}
    items = release(tmp_path, allotted, engines, filters, voted)
    assert [int(item.file[7:12]) for item in items] == [0, 1]
    assert images_in(tmp_path)["00000.png"] == to_png(GREY + 1)
    found = counts(tmp_path, items, filters, 2)
    assert found.kept == {"images/00000.png": "blank"} and found.rejected == {"blank": 3}
    assert any("WARNING: 1 of 2 images stay" in line for line in found.lines())
    # The next start knows that it only stays.
    assert release(tmp_path, allotted, Planted({}), filters, voted) == items


def test_a_renderer_that_makes_nothing_acceptable_ends_after_one_round(tmp_path):
    allotted, engines = allotment(HOPELESS // 2, 1), Engines({"blank": 1.0})
    items = release(tmp_path, allotted, engines, {"blank": {}})
    # Each once, and once more since they stay.
    assert len(items) == HOPELESS and engines.made == 2 * HOPELESS
    assert len(counts(tmp_path, items, {"blank": {}}, HOPELESS).kept) == HOPELESS


def test_an_image_that_stays_has_taken_no_place_and_what_was_rejected_was_made(tmp_path):
    # Of two places: 0 had a blank render, one that failed, and a good one; 1 one that failed, and a blank one.
    items = [ReleaseItem(f"images/{n:05d}.png", "a cat", "all", 1, 0, "c", None, n) for n in (4, 3)]
    config = config_with(release={"images": 2, "filters": {"blank": {}, "other_seeds": 2}})
    found = Filtered.of(config, items, {"images/00000.png": "blank", "images/00003.png": "blank"})
    assert found is not None and found.kept == {"images/00003.png": "blank"} and found.rejected == {"blank": 2}
    assert (found.not_made, found.other_seeds, found.other_texts, found.missing) == (2, 1, 0, 0)


def test_to_go_on_compares_nothing_with_an_image_that_only_stays(tmp_path):
    allotted, filters = allotment(2, 1, ["all"]), {"blank": {}, "duplicate": {}, "other_seeds": 0, "other_texts": 0}
    blank, other = (seeds_of(allotted, place, filters)[0] for place in range(2))
    # Rows of light and dark: no blank image, but its thumbnail is that of one.
    rows = GREY.copy()
    rows[::2] += 20
    rows[1::2] -= 20
    first = release(tmp_path, allotted, Planted({blank: GREY, other: None}), filters)
    assert [item.file for item in first] == ["images/00000.png"]
    again = release(tmp_path, allotted, Planted({other: rows}), filters)
    found = counts(tmp_path, again, filters, 2)
    assert (found.kept, found.rejected, found.missing) == ({"images/00000.png": "blank"}, {"blank": 1}, 0)
    # The same images are duplicates where the first was accepted.
    both = release(tmp_path / "accepted", allotted, Planted({blank: rows, other: rows}), filters)
    assert counts(tmp_path / "accepted", both, filters, 2).rejected == {"duplicate": 1}


def test_what_was_accepted_stays_when_an_image_before_it_comes_late(tmp_path):
    allotted, filters = allotment(2, 1, ["all"]), {"duplicate": {}, "other_seeds": 0, "other_texts": 0}
    first, second = (seeds_of(allotted, place, filters)[0] for place in range(2))
    same = picture("anything", 1)
    items = release(tmp_path, allotted, Planted({first: None, second: same}), filters)
    assert [item.file for item in items] == ["images/00001.png"]
    both = release(tmp_path, allotted, Planted({first: same, second: same}), filters)
    assert counts(tmp_path, both, filters, 2).rejected == {} and len(both) == 2


def test_to_go_on_tries_no_more_where_images_only_stay(tmp_path):
    allotted, filters = allotment(HOPELESS // 2, 1), {"blank": {}}
    whole = release(tmp_path / "one", allotted, Engines({"blank": 1.0}), filters)
    other = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        release(other, allotted, Engines({"blank": 1.0}, 1, stop=HOPELESS + 5), filters)
    there, engines = len(images_in(other)), Engines({"blank": 1.0})
    assert there > 0
    assert release(other, allotted, engines, filters) == whole and images_in(other) == images_in(tmp_path / "one")
    assert engines.made == HOPELESS - there
    assert counts(other, whole, filters, HOPELESS) == counts(tmp_path / "one", whole, filters, HOPELESS)


def test_a_renderer_that_makes_nothing_ends_the_release(tmp_path):
    with pytest.raises(NothingMade, match="no image of the release could be rendered"):
        release(tmp_path, allotment(2, 2), Engines({"none": 1.0}), ALL)


def test_a_render_that_the_embedder_fails_on_is_not_accepted(tmp_path):
    class Failing(Engines):
        def embed_images(self, images):
            return (None if at == 1 else row for at, row in enumerate(super().embed_images(images)))

    allotted, filters = allotment(3, 1, ["all"]), {"mismatch": {"others": 2, "max_rank": 2}, "other_texts": 0}
    items = release(tmp_path, allotted, Failing({}), filters)
    assert counts(tmp_path, items, filters, 3).rejected["unchecked"] == 1


def test_embedders_without_a_common_space_end_it_in_one_line(tmp_path):
    class Apart(Engines):
        def embed_images(self, images):
            return (row[:2] for row in super().embed_images(images))

    with pytest.raises(NothingMade, match="rows of 2 numbers and text_embedder of 4: they have no common space"):
        release(tmp_path, allotment(2, 1), Apart({}), {"mismatch": {"others": 2, "max_rank": 1}})


def test_a_next_text_is_one_of_the_same_theme_while_there_is_one(tmp_path):
    allotted, filters = allotment(4, 1, ["all"]), {"blank": {}, "other_seeds": 0}
    ids = [candidate.id for candidate, _ in allotted]
    themes = {ids[0]: "a", ids[1]: "b", ids[2]: "b", ids[3]: "a"}
    tries = seeds_of(allotted, 0, filters)
    items = release(tmp_path, allotted, Planted({tries[0]: GREY}), filters, themes=themes)
    assert items[0].candidate_id == ids[3], "ranks before it are of another theme"
    varied = [(replace(c, id=f"v-{c.id}", parent_id=c.id), n) for c, n in allotted]
    items = release(
        tmp_path / "varied", varied, Planted({seeds_of(varied, 0, filters)[0]: GREY}), filters, themes=themes
    )
    assert items[0].candidate_id == f"v-{ids[3]}", "a fresh variation is of its text's theme"


def test_a_line_that_a_crash_cut_short_is_forgotten(tmp_path):
    path = tmp_path / "rejected.jsonl"
    first = Rejections(path)
    first.add("images/00001.png", "blank", {"deviation": 0.5})
    first.close()
    path.write_bytes(path.read_bytes() + b'{"file": "images/00002.png", "reas')
    second = Rejections(path)
    assert dict(second) == {"images/00001.png": "blank"}
    second.add("images/00003.png", "duplicate", {})
    second.close()
    assert dict(Rejections(path)) == {"images/00001.png": "blank", "images/00003.png": "duplicate"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_account_of_filters_is_read_as_it_was_written_and_an_odd_one_is_refused():
    filters = FiltersConfig.model_validate(ALL)
    found = Filtered(filters.model_dump(mode="json"), 9, {"blank": 2}, 1, 1, 1, {"images/00001.png": "blank"}, 1)
    table = pa.table({"file": ["images/00001.png"]})
    assert filtered_in(table) is None and with_filtered(table, None) is table
    assert filtered_in(with_filtered(table, found)) == found
    (line, warning) = found.lines()
    assert "2 render(s) were not accepted (2 blank) and 1 could not be made" in line
    assert "1 from another seed, 1 of a next text of the label, 1 missing" in line and "1 of 9 images stay" in warning
    for odd in ({"missing": -1}, {"rejected": {"blank": "two"}}, {"kept": 3}, {"settings": {"blank": 3}}, {"more": 1}):
        said = {FILTERS_KEY: json.dumps(found.document() | odd).encode()}
        with pytest.raises(FiltersUnreadable, match="the manifest's account of its filters"):
            filtered_in(table.replace_schema_metadata(said))
    with pytest.raises(FiltersUnreadable):
        filtered_in(table.replace_schema_metadata({FILTERS_KEY: b"not json"}))
