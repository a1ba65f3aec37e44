"""WebDataset shards and folders of images, here and in object storage: each record once, and nothing told of it."""

import io
import json
import tarfile
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import DataConfig
from spti_ray.places import place as place_of
from spti_ray.private import dataset
from spti_ray.private.damage import Damaged
from spti_ray.private.dataset import UNLISTED_LABEL, load_shard, shard_of_group
from spti_ray.private.encoded import FILE_TOO_LARGE, MISSING_IMAGE
from spti_ray.private.source import DataError, describe, fingerprint
from spti_ray.private.tars import samples
from tests.unit.private.conftest import png, values

ALL = ("all",)
CANARY = "CANARY-7f3a"


def tar_bytes(members: list[tuple[str, bytes]], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sample(key: str, value: int, label: str = "cat", user: str = "u0") -> list[tuple[str, bytes]]:
    return [
        (f"{key}.json", json.dumps({"user": user, "value": value}).encode()),
        (f"{key}.png", png(value)),
        (f"{key}.cls", f"{label}\n".encode()),
    ]


@pytest.fixture
def data(place):
    path, write = place
    write("b/1.tar", tar_bytes(sample("x/1", 10) + sample("x/2", 20, "dog", "u1") + sample("x/3", 30, "cow", "u2")))
    write("a/0.tar.gz", tar_bytes(sample("1", 40, "dog", "u1") + [("._1.png", b"hidden")], "w:gz"))
    write("c.tar", tar_bytes([("only.txt", b"no image")]))
    return DataConfig(path=path, label_column="cls", group_column="user")


@pytest.mark.parametrize("num_shards", [1, 2, 3, 5])
def test_every_sample_is_a_record_of_one_shard_whatever_their_number(data, num_shards):
    assert describe(data).kind == "webdataset"
    shards = [list(load_shard(data, "record", shard, num_shards, ALL)) for shard in range(num_shards)]
    records = sorted((record for shard in shards for record in shard), key=lambda record: record.index)
    assert [record.index for record in records] == [0, 2**32, 2**32 + 1, 2**32 + 2, 2 * 2**32]
    assert values(records[:-1]) == [40, 10, 20, 30]
    assert records[-1].image is None and records[-1].problem == MISSING_IMAGE


def test_labels_are_members_or_keys_of_the_json(data):
    records = list(load_shard(data, "record", 0, 1, ("cat", "dog")))
    assert [record.label for record in records] == ["dog", "cat", "dog", None, None]
    assert [record.problem for record in records[3:]] == [UNLISTED_LABEL] * 2
    by_json = data.model_copy(update={"label_column": "value"})
    assert [record.label for record in load_shard(by_json, "record", 0, 1, ("10", "20"))][1:3] == ["10", "20"]


def test_a_group_that_spans_tar_files_is_in_one_shard(data):
    shards = [list(load_shard(data, "group", shard, 3, ALL)) for shard in range(3)]
    for number, shard in enumerate(shards):
        assert {shard_of_group(record.group or "", 3) for record in shard} <= {number}
    (two,) = (shard for shard in shards if any(record.group == "u1" for record in shard))
    assert [record.group for record in two].count("u1") == 2


def test_the_image_column_chooses_among_several_images(place):
    place[1]("0.tar", tar_bytes([("1.seg.png", png(1)), ("1.jpg.png", png(2)), ("1.png", png(3))]))
    for column, expected in (("image", [3]), ("seg.png", [1])):
        assert values(load_shard(DataConfig(path=place[0], image_column=column), "record", 0, 1, ALL)) == expected


def test_a_member_that_is_too_large_is_not_read(data, monkeypatch):
    monkeypatch.setattr(dataset, "largest", lambda max_pixels: 10)
    assert {record.problem for record in load_shard(data, "record", 0, 1, ALL)} == {FILE_TOO_LARGE, MISSING_IMAGE}


def test_a_broken_tar_file_stops_the_reading_and_its_content_is_not_told(data, place):
    place[1]("d.tar", tar_bytes([(f"{CANARY}.png", CANARY.encode() * 200)])[:1500])
    with pytest.raises(DataError, match="reading .* failed") as caught:
        list(load_shard(data, "record", 0, 1, ALL))
    assert CANARY not in str(caught.value) and caught.value.__context__ is None


def test_what_is_no_tar_file_is_refused_before_a_model_loads(place):
    place[1]("0.tar", b"this is no tar file" * 100)
    with pytest.raises(DataError, match="is not a tar file of samples; give WebDataset shards"):
        describe(DataConfig(path=place[0]))


def test_columns_that_are_needed_must_be_set(data):
    with pytest.raises(DataError, match="data.label_column: must be set"):
        describe(data.model_copy(update={"label_column": None}), label_names=("cat",))
    with pytest.raises(DataError, match="data.group_column: must be set"):
        describe(data.model_copy(update={"group_column": None}), unit="group")


def test_kinds_of_data_are_not_mixed(data, place):
    place[1]("x.png", png(1))
    with pytest.raises(DataError, match="holds images and tar files; separate them"):
        describe(data)


def test_a_folder_of_images_is_read_from_wherever_it_is(place):
    path, write = place
    for name, value in (("dog/1.png", 10), ("cat/2.PNG", 20), ("3.png", 30), (".hidden/4.png", 40), ("readme.txt", 0)):
        write(name, png(value))
    write("cat/broken.jpg", b"no image")
    data = DataConfig(path=path)
    assert describe(data).kind == "folder"
    before = fingerprint(describe(data))
    shards = [list(load_shard(data, "record", shard, 2, ("cat", "dog"))) for shard in range(2)]
    records = [record for shard in shards for record in shard]
    assert [record.index for record in records] == [0, 1, 2, 3]
    assert [(record.label, record.problem) for record in records] == [
        (None, UNLISTED_LABEL),
        ("cat", None),
        ("cat", "not an image"),
        ("dog", None),
    ]
    assert values(record for record in records if record.image is not None) == [20, 10]
    write("dog/5.png", png(50))
    assert fingerprint(describe(data)) != before


NAMES = st.text(st.sampled_from("ab1"), min_size=1, max_size=2)


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["png", "cls", "json", "seg.png"]), st.binary(max_size=8))))
def test_samples_are_runs_of_members_with_one_key_that_comes_once(tmp_path_factory, members):
    path = tmp_path_factory.mktemp("tars") / "0.tar"
    path.write_bytes(tar_bytes([(f"{folder}/{stem}.{ending}", content) for folder, stem, ending, content in members]))
    runs = [(key, list(run)) for key, run in groupby(members, key=lambda member: member[:2])]
    endings = [[ending for _, _, ending, _ in run] for _, run in runs]
    if len({key for key, _ in runs}) < len(runs) or any(len(set(names)) < len(names) for names in endings):
        with pytest.raises(Damaged):
            list(samples(place_of(str(path)), lambda extension: True, 100))
    else:
        expected = [{ending: content for _, _, ending, content in run} for _, run in runs]
        assert list(samples(place_of(str(path)), lambda extension: True, 100)) == expected
