"""Sets of images from releases, generations and folders."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config.loading import ConfigError
from spti_ray.evaluate.image_sets import folder_images, generation_images, release_images, voted_generations


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shades(image_set):
    return [int(image[0, 0, 0]) for image in image_set.images]


@pytest.fixture
def run(tmp_path):
    """Two generations of three candidates; b survives the first, and b and c the second."""

    def write(number, texts, rendered, survivors):
        folder = tmp_path / "generations" / f"{number:02d}"
        folder.mkdir(parents=True)
        ids = list(texts)
        columns = {"id": ids, "text": [texts[id] for id in ids], "label": ["all"] * len(ids)}
        pq.write_table(pa.table(columns), folder / "candidates.parquet")
        renders = {"candidate_id": list(rendered), "png": [png(shade) for shade in rendered.values()]}
        pq.write_table(pa.table(renders), folder / "renders.parquet")
        pq.write_table(pa.table({"id": survivors}), folder / "selected.parquet")

    write(0, {"a": "an ant", "b": "a bee"}, {"a": 1, "b": 2}, ["b"])
    write(1, {"b": "a bee", "c": "a cat"}, {"c": 3}, ["c", "b"])
    return tmp_path / "generations"


def test_the_survivors_of_a_generation_are_found_wherever_they_were_rendered(run):
    assert voted_generations(run) == [0, 1]
    survivors = generation_images(run, 1)
    assert (shades(survivors), survivors.texts, survivors.labels) == ([3, 2], ("a cat", "a bee"), None)
    assert survivors.name == "generation-01"


def test_the_candidates_of_a_generation_are_all_that_were_voted_on(run):
    candidates = generation_images(run, 0, candidates=True)
    assert (shades(candidates), candidates.texts) == ([1, 2], ("an ant", "a bee"))
    assert candidates.name == "generation-00-candidates"


def test_a_generation_that_is_not_there_is_one_line(run, tmp_path):
    with pytest.raises(ConfigError, match="generation 2 is not there; there are 0 to 1"):
        generation_images(run, 2)
    for file in run.glob("*/renders.parquet"):
        file.unlink()
    with pytest.raises(ConfigError, match="no renders"):
        generation_images(run, 1)
    with pytest.raises(ConfigError, match="no release yet"):
        release_images(tmp_path / "release")


def test_the_images_of_a_release_come_with_texts_and_labels(tmp_path):
    images = tmp_path / "release" / "images"
    images.mkdir(parents=True)
    for i in range(2):
        (images / f"{i}.png").write_bytes(png(10 + i))
    rows = {"file": ["images/0.png", "images/1.png"], "text": ["x", "y"], "label": ["p", "q"]}
    pq.write_table(pa.table(rows), tmp_path / "release" / "manifest.parquet")
    release = release_images(tmp_path / "release")
    assert (shades(release), release.texts, release.labels) == ([10, 11], ("x", "y"), ("p", "q"))


def test_renders_of_captions_have_no_texts(tmp_path):
    (tmp_path / "0.png").write_bytes(png(9))
    pq.write_table(pa.table({"file": ["0.png"], "sha256": ["ab"], "label": ["all"]}), tmp_path / "manifest.parquet")
    release = release_images(tmp_path)
    assert (shades(release), release.texts, release.labels) == ([9], None, None)


def test_a_folder_with_metadata_is_read_as_an_imagefolder(tmp_path):
    rows = []
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(i))
        rows.append({"file_name": f"{2 - i}.png", "text": f"text {2 - i}", "label": "all"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = folder_images(tmp_path)
    assert (shades(found), found.texts, found.labels) == ([2, 1, 0], ("text 2", "text 1", "text 0"), None)


def test_a_folder_without_metadata_has_the_labels_of_its_sub_folders(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.png").write_bytes(png(7))
    found = folder_images(tmp_path)
    assert (found.labels, found.texts) == (("cat", "dog"), None)
    (tmp_path / "1.png").write_bytes(png(7))
    assert folder_images(tmp_path).labels is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "metadata.jsonl:1: expected"),
        ('{"text": "x"}', "metadata.jsonl:1: expected"),
        ('{"file_name": "gone.png"}', "not a file of the folder"),
        ('{"file_name": "../outside.png"}', "not a file of the folder"),
    ],
)
def test_broken_metadata_is_one_line(tmp_path, line, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(png(1))
    (folder / "metadata.jsonl").write_text(line)
    with pytest.raises(ConfigError, match=message):
        folder_images(folder)


def test_an_image_that_can_not_be_decoded_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="bad.png: not an image"):
        folder_images(tmp_path).images[0]


def test_a_folder_without_images_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="neither a run"):
        folder_images(tmp_path)


def test_images_are_a_sequence(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5))
    images = folder_images(tmp_path).images
    assert len(images) == len(images[0:9]) == 1 and np.array_equal(images[0], images[:1][0])
