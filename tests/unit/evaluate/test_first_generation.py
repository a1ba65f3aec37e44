"""The images of a run's first candidates: kept ones, new ones, or why there are none."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.evaluate.first_generation import NotMade, first_generation
from spti_ray.models.pixels import to_png
from spti_ray.runs.folder import RunDir
from spti_ray.step_progress import untold


@pytest.fixture
def run(tmp_path, make_config):
    def opened(kept=(), number=0, **changes):
        run = RunDir(tmp_path / "run", "r", make_config(**changes))
        folder = run.path / "generations" / f"{number:02d}"
        folder.mkdir(parents=True)
        texts = {"id": ["a", "b"], "text": ["a red cat", "a blue car"], "label": ["all", "all"]}
        pq.write_table(pa.table(texts), folder / "candidates.parquet")
        pq.write_table(pa.table({"id": ["a"]}), folder / "selected.parquet")
        if kept:
            renders = {"candidate_id": ["a", "b"], "png": [to_png(image) for image in kept]}
            pq.write_table(pa.table(renders), folder / "renders.parquet")
        return run

    return opened


def found(run, render=False):
    return first_generation(run, render=render, seed=0, told=untold)


def test_kept_renders_of_all_first_candidates_are_taken(run, pictures_of):
    kept = pictures_of(2, 1)
    images = found(run(kept))
    assert len(images.images) == 2 and (images.images[1] == kept[1]).all()


def test_where_none_were_kept_they_are_drawn_again_if_asked(run):
    opened = run()
    with pytest.raises(NotMade, match="--render draws them again"):
        found(opened)
    images = found(opened, render=True)
    assert len(images.images) == 2 and images.texts == ("a red cat", "a blue car")
    assert (images.images[0] != images.images[1]).any()
    assert (found(opened, render=True).images[0] == images.images[0]).all(), "the seed is public"


def test_a_generation_that_asks_for_the_shares_of_labels_has_no_candidates(run, pictures_of):
    labels = [{"name": "x"}, {"name": "y"}]
    opened = run(pictures_of(2, 1), 1, evolution__labels=labels, evolution__label_shares="voted")
    assert len(found(opened).images) == 2


def test_candidates_that_come_of_votes_are_not_the_first(run, pictures_of):
    opened = run(pictures_of(2, 1), origin={"run": "earlier", "path": "/runs/earlier"})
    with pytest.raises(NotMade, match="come of votes"):
        found(opened)


def test_a_method_without_candidates_has_none(tmp_path, make_config):
    with pytest.raises(NotMade, match="no candidates"):
        found(RunDir(tmp_path, "r", make_config()))
