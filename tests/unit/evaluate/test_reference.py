"""The private features: embedded once, kept for their owner, split without tearing groups, and telling nothing."""

import os
import pickle
import shutil
import stat

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.evaluate.reference import EvaluationFailed, Reference, load
from spti_ray.private.kinds import DataError


@pytest.fixture
def folder(tmp_path, pictures_of):
    for i, image in enumerate(pictures_of(60, 1)):
        file = tmp_path / "data" / ("cats" if i % 3 else "dogs") / f"{i:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    (tmp_path / "data" / "cats" / "broken.png").write_bytes(b"no image")
    return tmp_path / "data"


def test_features_labels_and_unusable_records_of_a_folder(folder, judge, pictures_of):
    found = load(DataConfig(path=str(folder)), judge, label_names=())
    assert found.features_PE.shape == (60, 12) and found.num_unusable == 1
    assert sorted(set(found.labels)) == ["cats", "dogs"] and found.labels.count("dogs") == 20
    assert found.features_PE.sum() == pytest.approx(judge.features(pictures_of(60, 1)).sum(), rel=1e-5)
    assert load(DataConfig(path=str(folder)), judge).labels is None


def test_only_listed_labels_are_used(folder, judge):
    found = load(DataConfig(path=str(folder)), judge, label_names=("cats",))
    assert set(found.labels) == {"cats"} and found.num_unusable == 21


def test_the_second_time_the_features_come_from_the_owners_cache(folder, judge, tmp_path):
    cache = tmp_path / "cache"
    first = load(DataConfig(path=str(folder)), judge, label_names=(), cache=cache)
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(cache.stat().st_mode) == 0o700
    judge.features = None
    second = load(DataConfig(path=str(folder)), judge, label_names=(), cache=cache)
    assert np.allclose(first.features_PE, second.features_PE)
    assert (second.labels, second.num_unusable) == (first.labels, 1)
    with pytest.raises(EvaluationFailed):  # another question is not answered from it
        load(DataConfig(path=str(folder)), judge, label_names=(), cache=cache, limit=50)


def test_a_changed_file_is_embedded_again(folder, judge, tmp_path, pictures_of):
    first = load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache")
    Image.fromarray(pictures_of(1, 9)[0].repeat(3, axis=0)).save(folder / "cats" / "001.png")
    assert not np.allclose(
        first.features_PE, load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache").features_PE
    )


def test_a_copy_of_the_data_elsewhere_needs_no_second_embedding(folder, judge, tmp_path):
    first = load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache")
    shutil.copytree(folder, tmp_path / "copy")
    judge.features = None
    second = load(DataConfig(path=str(tmp_path / "copy")), judge, cache=tmp_path / "cache")
    assert np.allclose(first.features_PE, second.features_PE) and first.data == second.data != ""


def test_a_file_that_is_written_again_with_its_size_and_time_is_embedded_again(tmp_path, judge, pictures_of):
    files = []
    for seed in (1, 2):
        pngs = []
        for image in pictures_of(50, seed):
            Image.fromarray(image).save(tmp_path / "one.png", compress_level=0)
            pngs.append((tmp_path / "one.png").read_bytes())
        pq.write_table(
            pa.table({"image": pngs}), tmp_path / f"{seed}.parquet", compression="none", use_dictionary=False
        )
        files.append((tmp_path / f"{seed}.parquet").read_bytes())
    data, cache = tmp_path / "data.parquet", tmp_path / "cache"
    found = []
    for content in files:
        data.write_bytes(content)
        os.utime(data, (1, 1))
        found.append(load(DataConfig(path=str(data)), judge, cache=cache))
    assert len(files[0]) == len(files[1])
    assert found[0].data != found[1].data and not np.allclose(found[0].features_PE, found[1].features_PE)


def test_what_was_written_to_while_it_was_read_is_not_kept(folder, judge, tmp_path, pictures_of):
    features = judge.features

    def meanwhile(images):
        Image.fromarray(pictures_of(1, 9)[0]).save(folder / "cats" / "001.png")
        return features(images)

    judge.features = meanwhile
    load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_another_judge_has_features_of_its_own(folder, judge, tmp_path):
    load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache")
    for change in ({"model": "other"}, {"revision": "2"}):
        judge.identity = lambda change=change: {"kind": "fake", "model": "colours", "revision": "1"} | change
        load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_of_many_records_a_sample_is_kept_in_which_each_is_as_likely(tmp_path, judge):
    shades = np.arange(120)
    column = []
    for shade in shades:
        Image.new("RGB", (4, 4), (int(shade), 0, 0)).save(tmp_path / "one.png")
        column.append((tmp_path / "one.png").read_bytes())
    pq.write_table(pa.table({"image": column}), tmp_path / "data.parquet")
    data = DataConfig(path=str(tmp_path / "data.parquet"))
    kept = np.zeros(120)
    for seed in range(60):
        found = load(data, judge, limit=40, seed=seed)
        assert len(found.features_PE) == 40
        shade_of = np.rint(found.features_PE[:, 0] * 64).astype(int)
        assert len(set(shade_of)) == 40
        kept[shade_of] += 1
    # Each is kept in a third of the samples; early and late records alike.
    assert kept[:40].sum() == pytest.approx(800, rel=0.1) and kept[80:].sum() == pytest.approx(800, rel=0.1)


def test_halves_share_nothing_and_depend_on_the_seed_alone(real):
    a, b = real.halves(3)
    assert sorted([*a, *b]) == list(range(400)) and len(a) == 200
    assert np.array_equal(a, real.halves(3)[0]) and not np.array_equal(a, real.halves(4)[0])


def test_a_group_is_never_in_both_halves(real):
    grouped = Reference(real.features_PE, None, np.arange(400) // 7, 0, real.judge)
    a, b = grouped.halves(0)
    assert not set(grouped.groups_P[a]) & set(grouped.groups_P[b])
    assert abs(len(a) - len(b)) <= 14


def test_too_few_records_are_one_line(tmp_path, judge, pictures_of):
    for i, image in enumerate(pictures_of(5, 1)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    with pytest.raises(EvaluationFailed, match="fewer than 40"):
        load(DataConfig(path=str(tmp_path)), judge)


def test_a_judge_that_fails_on_private_images_tells_nothing_of_them(folder, judge, tmp_path):
    def careless(images):
        raise ValueError(f"can't embed {images[0].tolist()}")

    judge.features = careless
    with pytest.raises(EvaluationFailed) as caught:
        load(DataConfig(path=str(folder)), judge)
    assert str(caught.value) == "the judge colours failed on private images (ValueError)"
    assert caught.value.__context__ is None
    judge.features = lambda images: np.full((len(images), 3), np.nan, np.float32)
    with pytest.raises(EvaluationFailed, match="not finite"):
        load(DataConfig(path=str(folder)), judge)


def test_a_torn_cache_file_is_one_line(folder, judge, tmp_path):
    load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="delete the file"):
        load(DataConfig(path=str(folder)), judge, cache=tmp_path / "cache")


def test_a_reference_neither_prints_nor_pickles(real):
    assert repr(real) == str(real) == "<Reference: private>"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(real)
