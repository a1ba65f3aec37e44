import errno
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from spti_ray.errors import NothingMade
from spti_ray.io.files import DiskFull
from spti_ray.models.pixels import from_png, to_png
from spti_ray.public import image_writer
from spti_ray.public.counted import to_come
from spti_ray.public.render_jobs import Recipes, render_seed
from spti_ray.public.rendering import render_release
from spti_ray.types import Candidate, ImageLost, RenderedImage
from tests.unit.conftest import config_with

CAT = Candidate("g01-000003", "a red cat", "pets", 1, "g00-000001", "fill")
CAR = Candidate("g00-000002", "a blue car", "rides", 0)
ALLOTTED = [(CAT, 3), (CAR, 2)]
RECIPES = Recipes(config_with(runtime__seed=5), {}.get)


def pixels(path):
    return np.asarray(Image.open(path))


def voted(candidate: Candidate) -> dict[str, RenderedImage]:
    """A render unlike any that the renderer makes, so that it is known again."""
    png = to_png(np.full((64, 64, 3), 77, np.uint8))
    return {candidate.id: RenderedImage(candidate.id, 0, render_seed(5, candidate.id, 0), png)}


def test_every_text_is_rendered_as_often_as_allotted_each_image_from_its_own_seed(tmp_path, local_engines):
    engines = local_engines()
    items = render_release(tmp_path, ALLOTTED, {}, engines, RECIPES)
    assert [item.file for item in items] == [f"images/{i:05d}.png" for i in range(5)]
    assert [(item.candidate_id, item.variant) for item in items] == [
        (CAT.id, 0), (CAT.id, 1), (CAT.id, 2), (CAR.id, 0), (CAR.id, 1),
    ]  # fmt: skip
    assert {(i.text, i.label, i.generation, i.parent_id) for i in items} == {
        ("a red cat", "pets", 1, "g00-000001"),
        ("a blue car", "rides", 0, None),
    }
    for item in items:
        assert item.seed == render_seed(5, item.candidate_id, item.variant)
        expected = local_engines()._renderer.render([item.text], [item.seed])[0]
        np.testing.assert_array_equal(pixels(tmp_path / item.file), expected)
    assert len({item.seed for item in items}) == 5


@pytest.mark.parametrize("level", [0, 6, 9])
def test_images_are_compressed_as_the_run_says_also_those_that_were_voted_on(tmp_path, local_engines, level):
    engines, recipes = local_engines(), Recipes(config_with(runtime__seed=5, release__png_level=level), {}.get)
    [(name, render)] = voted(CAT).items()
    quick = replace(render, png=to_png(from_png(render.png), 0))
    files = []
    for folder, of_votes in (("old", render), ("new", quick)):
        render_release(tmp_path / folder, ALLOTTED, {name: of_votes}, engines, recipes)
        files.append((tmp_path / folder / "images/00000.png").read_bytes())
    assert files[0] == files[1] == to_png(from_png(render.png), level)
    assert {job.png_level for job in engines.render_jobs} == {level}
    assert recipes.job(CAT).png_level == 0  # to be voted on


def test_a_voted_render_is_released_as_it_was_and_not_made_again(tmp_path, local_engines):
    engines = local_engines()
    render_release(tmp_path, ALLOTTED, voted(CAT), engines, RECIPES)
    assert (tmp_path / "images/00000.png").read_bytes() == voted(CAT)[CAT.id].png
    assert (pixels(tmp_path / "images/00001.png") != 77).any()  # Variant 1 is an image of its own.
    assert len(engines.render_jobs) == 4
    assert render_seed(5, CAT.id, 0) not in {job.seed for job in engines.render_jobs}


def test_renders_of_other_candidates_are_of_no_account(tmp_path, local_engines):
    engines = local_engines()
    other = Candidate("g00-000099", "a dog", "pets", 0)
    render_release(tmp_path, ALLOTTED, voted(other), engines, RECIPES)
    assert len(engines.render_jobs) == 5


def test_an_interrupted_rendering_goes_on_with_what_is_missing(tmp_path, local_engines):
    class Interrupted(local_engines):
        def render(self, jobs):
            for i, image in enumerate(super().render(jobs)):
                if i == 2:
                    raise KeyboardInterrupt
                yield image

    with pytest.raises(KeyboardInterrupt):
        render_release(tmp_path / "a", ALLOTTED, voted(CAR), Interrupted(1), RECIPES)
    left = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a/images").iterdir()}
    assert set(left) == {"00000.png", "00001.png", "00003.png"}
    engines = local_engines()
    items = render_release(tmp_path / "a", ALLOTTED, voted(CAR), engines, RECIPES)
    assert len(engines.render_jobs) == 2
    assert all((tmp_path / "a/images" / name).stat().st_mtime_ns == at for name, at in left.items())

    assert items == render_release(tmp_path / "b", ALLOTTED, voted(CAR), local_engines(), RECIPES)
    for item in items:
        assert (tmp_path / "a" / item.file).read_bytes() == (tmp_path / "b" / item.file).read_bytes()


def test_a_finished_rendering_makes_nothing_again(tmp_path, local_engines):
    items = render_release(tmp_path, ALLOTTED, {}, local_engines(), RECIPES)
    engines = local_engines()
    assert render_release(tmp_path, ALLOTTED, {}, engines, RECIPES) == items
    assert engines.render_jobs == []


DOG = Candidate("g01-000007", "a small dog", "pets", 1)
TEN = Recipes(config_with(runtime__seed=5, release__images=10), {}.get)


def test_an_image_that_can_not_be_made_is_replaced_by_one_of_its_labels_next_text(tmp_path, local_engines, caplog):
    bad = {render_seed(5, CAT.id, 1), render_seed(5, CAR.id, 1)}
    allotted = [(CAT, 2), (DOG, 1), (CAR, 2)]
    engines = local_engines(2, unrenderable=lambda job: job.seed in bad)
    items = render_release(tmp_path, allotted, {}, engines, TEN)
    # The numbers of the others stay, and labels keep their shares: of the second label there is one text alone.
    assert [item.file for item in items] == [f"images/{n:05d}.png" for n in (0, 11, 2, 3, 14)]
    assert [item.candidate_id for item in items] == [CAT.id, DOG.id, DOG.id, CAR.id, CAR.id]
    assert [item.variant for item in items] == [0, 11, 0, 0, 14]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == sorted(item.file[7:] for item in items)
    for item in items:
        expected = local_engines()._renderer.render([item.text], [item.seed])[0]
        np.testing.assert_array_equal(pixels(tmp_path / item.file), expected)
    assert "7 of 10 could not be made" in caplog.text and "2 replaced" in caplog.text and "5 missing" in caplog.text


def test_a_rendering_that_goes_on_replaces_the_same_images_by_the_same_ones(tmp_path, local_engines):
    bad = {render_seed(5, CAT.id, 0), render_seed(5, DOG.id, 10), render_seed(5, CAR.id, 1)}
    allotted = [(CAT, 2), (DOG, 1), (CAR, 2)]

    class Interrupted(local_engines):
        def render(self, jobs):
            for i, image in enumerate(super().render(jobs)):
                if len(self.render_jobs) > 5 and i == 1:
                    raise KeyboardInterrupt
                yield image

    def refusing(engines):
        return engines(1, unrenderable=lambda job: job.seed in bad)

    whole = render_release(tmp_path / "a", allotted, {}, refusing(local_engines), TEN)
    assert whole[0].file == "images/00020.png", "the first that took its place could not be made either"
    with pytest.raises(KeyboardInterrupt):
        render_release(tmp_path / "b", allotted, {}, refusing(Interrupted), TEN)
    assert render_release(tmp_path / "b", allotted, {}, refusing(local_engines), TEN) == whole
    # A renderer that was only ill does not change what was decided, when it is well.
    assert render_release(tmp_path / "a", allotted, {}, local_engines(), TEN) == whole
    names = {item.file[7:] for item in whole}
    assert {path.name for path in (tmp_path / "a/images").iterdir()} == names
    assert {path.name for path in (tmp_path / "b/images").iterdir()} == names


def test_a_place_stays_empty_where_nothing_can_be_made_for_it(tmp_path, local_engines):
    items = render_release(tmp_path, ALLOTTED, {}, local_engines(unrenderable=lambda job: "car" in job.text), RECIPES)
    assert [item.file for item in items] == [f"images/{n:05d}.png" for n in range(3)]


def test_a_release_without_a_single_image_is_refused(tmp_path, local_engines):
    with pytest.raises(NothingMade, match="no image of the release could be rendered"):
        render_release(tmp_path, ALLOTTED, {}, local_engines(unrenderable=lambda job: True), RECIPES)


def test_further_images_of_a_voted_image_are_variations_of_it(tmp_path, local_engines):
    engines = local_engines()
    config = config_with(method="pe-image", evolution__image_variation={"first_strength": 0.8, "last_strength": 0.25})
    render_release(tmp_path, [(CAT, 3)], voted(CAT), engines, Recipes(config, voted(CAT).get, are_images=True))
    assert (tmp_path / "images/00000.png").read_bytes() == voted(CAT)[CAT.id].png
    assert [(job.image, job.strength) for job in engines.render_jobs] == [(voted(CAT)[CAT.id].png, 0.25)] * 2
    first, second = (pixels(tmp_path / f"images/0000{i}.png") for i in (1, 2))
    assert (first != second).any()
    # Three quarters of each pixel are those of the voted image.
    origin = from_png(voted(CAT)[CAT.id].png).astype(int)
    assert 0 < np.abs(first - origin).max() <= 0.25 * 255 + 1


def test_jobs_of_the_release_are_made_one_by_one_and_their_number_is_known(tmp_path, local_engines):
    """Each may hold an image, and all of them together more than memory does."""
    made: list[str] = []

    class Noting(Recipes):
        def job(self, candidate, *more):
            made.append(candidate.id)
            return super().job(candidate, *more)

    class Watched(type(local_engines())):
        def render(self, jobs):
            assert to_come(jobs) == 5 and not made
            pngs = super().render(jobs)
            yield next(pngs)
            assert len(made) + to_come(jobs) == 5 and to_come(jobs) > 0
            yield from pngs

    recipes = Noting(config_with(runtime__seed=5), {}.get)
    assert len(render_release(tmp_path, ALLOTTED, {}, Watched(batch_size=2), recipes)) == 5


def test_the_drivers_thread_makes_no_image_durable(tmp_path, local_engines, monkeypatch):
    """Neither one that was rendered nor one that was voted on; and their names are made durable in batches."""
    threads, folders = set(), []
    fsync, of_folder = os.fsync, image_writer.fsync_folder

    def noted(descriptor: int) -> None:
        threads.add(threading.current_thread().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(image_writer, "fsync_folder", lambda folder: folders.append(folder) or of_folder(folder))
    render_release(tmp_path, [(CAT, 20), (CAR, 20)], voted(CAT), local_engines(), RECIPES)
    assert threads == {"release images"}
    assert folders == [tmp_path / "images"] * 3


def test_an_image_that_was_lost_before_it_was_written_is_rendered_again(tmp_path, local_engines):
    class Lost:
        num_bytes = 9

        def read(self):
            raise ImageLost

    class Losing(local_engines):
        def render(self, jobs):
            first = not self.render_jobs
            return (Lost() if first and i in (1, 3) else image for i, image in enumerate(super().render(jobs)))

    engines = Losing()
    items = render_release(tmp_path / "a", ALLOTTED, {}, engines, RECIPES)
    assert [job.seed for job in engines.render_jobs[5:]] == [items[1].seed, items[3].seed]
    assert items == render_release(tmp_path / "b", ALLOTTED, {}, local_engines(), RECIPES)
    for item in items:
        assert (tmp_path / "a" / item.file).read_bytes() == (tmp_path / "b" / item.file).read_bytes()


def test_a_full_disk_ends_the_rendering_in_its_line(tmp_path, local_engines, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no space left on the disk"):
        render_release(tmp_path, ALLOTTED, {}, local_engines(), RECIPES)
    # Also where all images are at hand, and none is rendered.
    both = voted(CAT) | voted(CAR)
    with pytest.raises(DiskFull, match="no space left on the disk"):
        render_release(tmp_path, [(CAT, 1), (CAR, 1)], both, local_engines(), RECIPES)
    assert list((tmp_path / "images").iterdir()) == []
