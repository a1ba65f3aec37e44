"""What a shard writes down for the owner: every record once, by name, and nothing that changes a vote."""

import io
import pickle
import stat
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.private.dataset import load_shard
from spti_ray.private.decode import pixel_format
from spti_ray.private.safe_errors import ShardError
from spti_ray.private.shard import Shard
from spti_ray.private.survey import Survey, read_survey
from spti_ray.private.view_rows import VIEW_FAILED

PIXELS = [np.full((4, 6, 3), 20 * i, np.uint8) for i in range(6)]


def encoded(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def data(tmp_path):
    images = [encoded(pixels) for pixels in PIXELS]
    images[3] = b"no image"
    labels = ["x", "y", "z", "x", "y", "x"]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "p.parquet")
    return DataConfig(path=str(tmp_path / "p.parquet"), label_column="label")


class Embedder:
    def __init__(self, broken=None):
        self.calls, self.broken = 0, broken

    def __call__(self, images):
        self.calls += 1
        if any(image[0, 0, 0] == self.broken for image in images):
            raise RuntimeError("CANARY")
        return np.array([[1.0, int(image[0, 0, 0]) + 1] for image in images], dtype=np.float32)


def shard(data, cache):
    return Shard(
        data,
        shard_id=0,
        num_shards=1,
        label_names=("x", "y"),
        spaces=("image",),
        cache=cache,
        fingerprint="one",
        batch_size=4,
    )


def test_every_record_is_written_down_once_with_its_problem(data, tmp_path):
    private = shard(data, tmp_path / "views")
    private.survey(tmp_path / "survey" / "0.parquet", Embedder(broken=20))
    found = list(read_survey(tmp_path / "survey" / "0.parquet"))
    assert [(seen.name, seen.label, seen.unlisted) for seen in found] == [
        ("p.parquet, row 0", "x", None),
        ("p.parquet, row 1", "y", None),
        ("p.parquet, row 2", None, "z"),
        ("p.parquet, row 3", "x", None),
        ("p.parquet, row 4", "y", None),
        ("p.parquet, row 5", "x", None),
    ]
    problems = [None, VIEW_FAILED["image"], "no listed label", "not an image", None, None]
    assert [seen.problem for seen in found] == problems
    assert [(seen.width, seen.height) for seen in found] == [(6, 4), (6, 4), (0, 0), (0, 0), (6, 4), (6, 4)]
    assert [bool(seen.thumbnail) for seen in found] == [True, True, False, False, True, True]
    assert found[0].format == "PNG, 8-bit colour" and not found[0].is_deep
    assert private.problems() == [(i, problem) for i, problem in enumerate(problems) if problem]


def test_the_views_are_those_that_a_run_makes_and_are_not_made_again(data, tmp_path):
    shard(data, tmp_path / "run").prepare(Embedder())
    shard(data, tmp_path / "check").survey(tmp_path / "survey.parquet", Embedder())
    (name,) = (path.name for path in (tmp_path / "run").iterdir())
    assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "check" / name).read_bytes()
    again, embedder = shard(data, tmp_path / "check"), Embedder()
    again.survey(tmp_path / "again" / "survey.parquet", embedder)
    assert embedder.calls == 0
    assert len(list(read_survey(tmp_path / "again" / "survey.parquet"))) == len(PIXELS)


def test_only_the_owner_can_read_it_and_it_does_not_print_or_pickle(data, tmp_path):
    shard(data, tmp_path / "views").survey(tmp_path / "survey" / "0.parquet", Embedder())
    assert stat.S_IMODE((tmp_path / "survey").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "survey" / "0.parquet").stat().st_mode) == 0o600
    seen = next(read_survey(tmp_path / "survey" / "0.parquet"))
    assert repr(seen) == str(seen) == "<Surveyed: private>"
    with pytest.raises(TypeError):
        pickle.dumps(seen)


def test_what_was_read_before_an_error_is_written_down_and_not_told(data, tmp_path, monkeypatch):
    def broken(self, record):
        if record.index == 4:
            raise RuntimeError(record.name)
        add(self, record)

    add = Survey.add
    monkeypatch.setattr(Survey, "add", broken)
    with pytest.raises(ShardError, match=r"^shard 0: preparing failed \(RuntimeError\)$"):
        shard(data, tmp_path / "views").survey(tmp_path / "0.parquet", Embedder())
    assert [seen.index for seen in read_survey(tmp_path / "0.parquet")] == [0, 1, 2, 3]


def test_pictures_are_a_sample_of_each_label(tmp_path):
    survey = Survey(num_labels=2)
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "b").mkdir()
    for i in range(90):
        Image.fromarray(np.full((200, 100, 3), i, np.uint8)).save(tmp_path / "images" / "a" / f"{i:02d}.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / "b" / "0.png")
    for record in load_shard(DataConfig(path=str(tmp_path / "images")), "record", 0, 1, ("a", "b")):
        survey.add(record)
    survey.write(tmp_path / "out" / "0.parquet", {})
    found = list(read_survey(tmp_path / "out" / "0.parquet"))
    kept = [seen for seen in found if seen.thumbnail]
    assert sum(seen.label == "a" for seen in kept) == 72 and sum(seen.label == "b" for seen in kept) == 1
    assert {seen.name for seen in kept} != {seen.name for seen in found[:72]} | {found[-1].name}
    assert Image.open(io.BytesIO(kept[0].thumbnail)).size == (48, 96)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "parquet of paths"])
def test_records_have_the_names_by_which_their_owner_knows_them(tmp_path, kind):
    where = tmp_path / "data"
    (where / "x").mkdir(parents=True)
    image = encoded(PIXELS[0])
    expected = {"folder": "x/anna.png", "zip": "s.zip: x/anna.png", "tar": "s.tar: x/anna"}
    if kind == "zip":
        with zipfile.ZipFile(where / "s.zip", "w") as archive:
            archive.writestr("x/anna.png", image)
    elif kind == "tar":
        with tarfile.open(where / "s.tar", "w") as archive:
            member = tarfile.TarInfo("x/anna.png")
            member.size = len(image)
            archive.addfile(member, io.BytesIO(image))
    else:
        (where / "x" / "anna.png").write_bytes(image)
    if kind == "parquet of paths":
        pq.write_table(pa.table({"image": ["x/anna.png"]}), where / "s.parquet")
    named = DataConfig(path=str(where), format="parquet" if kind == "parquet of paths" else None)
    (record,) = load_shard(named, "record", 0, 1, ("all",))
    assert record.name == expected.get(kind, "s.parquet, row 0: anna.png") and record.image is not None


@pytest.mark.parametrize(
    ("pixels", "kind", "words", "deep"),
    [
        (np.zeros((2, 2, 3), np.uint8), "PNG", "PNG, 8-bit colour", False),
        (np.zeros((2, 2), np.uint8), "BMP", "BMP, 8-bit grey", False),
        (np.zeros((2, 2), np.uint16), "PNG", "PNG, grey of more than 8 bits", True),
        (np.zeros((2, 2), np.uint16), "TIFF", "TIFF, grey of more than 8 bits", True),
        (np.zeros((2, 2), np.float32), "TIFF", "TIFF, grey floats", True),
    ],
)
def test_the_pixels_of_a_file_are_told_in_words(pixels, kind, words, deep):
    assert pixel_format(encoded(pixels, kind)) == (words, deep)


def test_what_is_no_image_has_no_format():
    assert pixel_format(b"no image") == ("", False)
