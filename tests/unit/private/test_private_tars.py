"""WebDataset shards and folders of images, here and in object storage: each record once, and nothing told of it."""

import gzip
import io
import json
import tarfile
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import storage_path
from spti_ray.private import file_records
from spti_ray.private.damage import Damaged
from spti_ray.private.dataset import load_shard
from spti_ray.private.encoded import FILE_TOO_LARGE, MISSING_IMAGE
from spti_ray.private.kinds import DataError
from spti_ray.private.record import MISSING_GROUP, UNLISTED_LABEL
from spti_ray.private.shard_reading import shard_of_group
from spti_ray.private.source import describe, fingerprint
from spti_ray.private.tars import archive, next_member, samples
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
    monkeypatch.setattr(file_records, "max_file_bytes", lambda max_pixels: 10)
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


SAMPLES = [sample(f"{i}", 10 * i, "cat", f"{CANARY}-{i}") for i in range(5)]
WHOLE = tar_bytes([member for members in SAMPLES for member in members])


def outcome(tmp_path, content: bytes, name: str = "0.tar") -> list[int] | str:
    """The values of the samples with a label, or the one line about why there are none."""
    (tmp_path / name).write_bytes(content)
    data = DataConfig(path=str(tmp_path / name), label_column="cls")
    try:
        return values(record for record in load_shard(data, "record", 0, 1, ("cat", "dog")) if record.image is not None)
    except DataError as error:
        assert CANARY not in str(error) and "\n" not in str(error) and error.__context__ is None
        return str(error).replace(str(tmp_path), "")


def starts() -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar:
        return [member.offset for member in tar.getmembers()]


@pytest.mark.parametrize("number", [0, 3, 4, 7, 14])
@pytest.mark.parametrize("damage", ["flip", "zero", "check sum"])
def test_a_damaged_header_is_an_error_and_not_the_end(tmp_path, number, damage):
    content, at = bytearray(WHOLE), starts()[number]
    if damage == "flip":
        content[at + 3] ^= 4
    elif damage == "zero":
        content[at : at + 512] = bytes(512)
    else:
        content[at + 148 : at + 156] = b"0000000\0"
    told = "is damaged or lacks its end" if number else "is not a tar file of samples"
    assert told in outcome(tmp_path, bytes(content))


def test_a_damaged_header_of_a_last_and_empty_member_is_an_error_too(tmp_path):
    """Nothing but zeros comes after it."""
    content = bytearray(tar_bytes([*SAMPLES[1], ("1.txt", b"")]))
    assert outcome(tmp_path, bytes(content)) == [10]
    content[content.index(b"1.txt")] ^= 4
    assert "is damaged or lacks its end" in outcome(tmp_path, bytes(content))


def test_an_archive_without_its_end_is_an_error_wherever_it_is_cut(tmp_path):
    end = starts()[-1] + 1024
    assert outcome(tmp_path, WHOLE) == [0, 10, 20, 30, 40]
    assert outcome(tmp_path, WHOLE[: end + 1024]) == [0, 10, 20, 30, 40]  # the two blocks that mark it
    for cut in (1, 300, 512, 700, *starts()[1:4], end - 1, end, end + 511, end + 512, end + 1023):
        assert (
            "can't be read" in (found := outcome(tmp_path, WHOLE[:cut])) or "failed" in found or "tar file" in found
        ), cut
    assert "lacks its end" in outcome(tmp_path, WHOLE + WHOLE), (
        "one after the other, of which tar reads the first alone"
    )


def test_what_is_packed_is_read_to_its_check_sum(tmp_path):
    packed = gzip.compress(WHOLE)
    assert outcome(tmp_path, packed, "0.tar.gz") == [0, 10, 20, 30, 40]
    stored = gzip.compress(WHOLE, compresslevel=0)  # where a flipped byte unpacks
    at = stored.index(b"cat")
    for content in (stored[:at] + b"dog" + stored[at + 3 :], packed[:-4], packed[:-8], packed[: len(packed) // 2]):
        assert isinstance(outcome(tmp_path, content, "0.tar.gz"), str)
    for i in range(0, len(packed), 7):
        content = bytearray(packed)
        content[i] ^= 32
        found = outcome(tmp_path, bytes(content), "0.tar.gz")
        assert isinstance(found, str) or found == [0, 10, 20, 30, 40], "of the file's own name and time there is no sum"


@pytest.mark.parametrize("suffix", ["bz2", "xz"])
def test_other_ways_of_packing_are_known_by_their_content(tmp_path, suffix):
    assert outcome(tmp_path, tar_bytes(SAMPLES[1], f"w:{suffix}")) == [10]
    assert isinstance(outcome(tmp_path, tar_bytes(SAMPLES[1], f"w:{suffix}")[:-20]), str)


def test_a_key_that_comes_back_is_refused(tmp_path):
    """Without the sample between them its two parts would be one."""
    x, y = sample("x", 10), sample("y", 20)
    assert "a key of a tar file comes back" in outcome(tmp_path, tar_bytes([*x[:2], *y, x[2]]))
    assert "a key of a tar file comes back" in outcome(tmp_path, tar_bytes([*x, *y, *x]))
    assert "two members with one extension" in outcome(tmp_path, tar_bytes([*x, *x]))
    assert outcome(tmp_path, tar_bytes([*x, *y])) == [10, 20]


def test_a_size_that_no_check_sum_covers_is_no_size(tmp_path):
    """An extended header is content: a flipped digit of a size in it would swallow the next member."""
    for more, expected in ((0, [0, 10, 20, 30, 40]), (1024, None)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, content in (member for members in SAMPLES for member in members):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                if name == "1.cls":
                    member.pax_headers = {"size": str(len(content) + more)}
                tar.addfile(member, io.BytesIO(content))
        found = outcome(tmp_path, buffer.getvalue())
        assert found == expected or (expected is None and "is damaged or lacks its end" in found)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"GNU.sparse.size": "5"}, None),
        ({"size": "0"}, None),
        ({"comment": "what git archive writes"}, [0, 10, 20, 30, 40]),
    ],
)
def test_one_header_decides_about_no_later_member(tmp_path, headers, expected):
    """A header of the kind that holds for all that follow may be a record's own, of which one letter was damaged."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number, (name, content) in enumerate(member for members in SAMPLES for member in members):
            if number == 3:
                buffer.write(tarfile.TarInfo.create_pax_global_header(headers))
                tar.offset = buffer.tell()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    found = outcome(tmp_path, buffer.getvalue())
    assert found == expected or (expected is None and "is damaged or lacks its end" in found)


@pytest.mark.parametrize(
    "bad", [b"[" * 100_000, b'{"user":' * 100_000, b"9" * 5_000, b'{"user": ' + b"9" * 5_000 + b"}", b"\xff"]
)
def test_no_json_of_a_sample_ends_the_run(tmp_path, bad):
    members = [*sample("1", 10), ("2.json", bad), ("2.png", png(20)), *sample("3", 30)]
    (tmp_path / "0.tar").write_bytes(tar_bytes(members))
    data = DataConfig(path=str(tmp_path / "0.tar"), group_column="user")
    records = [record for shard in range(2) for record in load_shard(data, "group", shard, 2, ALL)]
    assert sorted((record.index, record.group, record.problem) for record in records) == [
        (0, "u0", None),
        (1, None, MISSING_GROUP),
        (2, "u0", None),
    ]


def test_headers_of_members_are_not_kept(tmp_path):
    (tmp_path / "0.tar").write_bytes(WHOLE)
    with archive(storage_path(str(tmp_path / "0.tar"))) as tar:
        while next_member(tar):
            assert not tar.members


NAMES = st.text(st.sampled_from("ab1"), min_size=1, max_size=2)


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["png", "cls", "json", "seg.png"]), st.binary(max_size=8))))
def test_samples_are_runs_of_members_with_one_key_that_comes_once(tmp_path_factory, members):
    path = tmp_path_factory.mktemp("tars") / "0.tar"
    path.write_bytes(tar_bytes([(f"{folder}/{stem}.{ending}", content) for folder, stem, ending, content in members]))
    runs = [(key, list(run)) for key, run in groupby(members, key=lambda member: member[:2])]
    endings = [[ending for _, _, ending, _ in run] for _, run in runs]
    if len({key for key, _ in runs}) < len(runs) or any(len(set(names)) < len(names) for names in endings):
        with pytest.raises(Damaged):
            list(samples(storage_path(str(path)), lambda extension: True, 100))
    else:
        expected = [("/".join(key), {ending: content for _, _, ending, content in run}) for key, run in runs]
        assert list(samples(storage_path(str(path)), lambda extension: True, 100)) == expected
