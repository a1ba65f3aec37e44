"""Zip files: which members are records, and what a damaged or hostile one can't do."""

import io
import zipfile

import pytest

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import storage_path
from spti_ray.private import zips
from spti_ray.private.dataset import load_shard
from spti_ray.private.encoded import FILE_TOO_LARGE, UNREADABLE_FILE
from spti_ray.private.kinds import DataError
from spti_ray.private.source import describe
from tests.unit.private.conftest import png, values

ALL = ("all",)
SUFFIXES = frozenset({".png"})


def zip_bytes(members: list[tuple[str, bytes]], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def problems(data: DataConfig) -> list[str | None]:
    return [record.problem for record in load_shard(data, "record", 0, 1, ALL)]


def test_images_are_read_from_wherever_the_file_is(place):
    path, write = place
    write("b.zip", zip_bytes([("x/2.png", png(20)), ("x/1.PNG", png(10)), ("x/", b""), ("notes.txt", b"")]))
    write("a/c.zip", zip_bytes([("y/3.png", png(30)), ("__MACOSX/y/._3.png", b"fork"), (".hidden/4.png", png(40))]))
    data = DataConfig(path=path)
    assert describe(data).kind == "zip"
    records = list(load_shard(data, "record", 0, 1, ("x", "y")))
    assert [(r.index, r.label) for r in records] == [(0, "y"), (1, "x"), (2, "x")]
    assert values(records) == [30, 10, 20]
    assert values(load_shard(data, "record", 2, 3, ALL)) == [20]
    assert values(load_shard(DataConfig(path=f"{path}/b.zip"), "record", 0, 1, ALL)) == [10, 20]


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_does_not_stop_the_others(tmp_path, how):
    content = bytearray(zip_bytes([(f"{i}.png", png(10 * i)) for i in range(3)], how))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = archive.getinfo("1.png")
    start = member.header_offset + 30 + len("1.png")
    content[start + 8 : start + 20] = b"\xff" * 12
    (tmp_path / "d.zip").write_bytes(content)
    assert problems(DataConfig(path=str(tmp_path / "d.zip"))) == [None, UNREADABLE_FILE, None]


@pytest.mark.parametrize("offset", [2**31, 10**9])
def test_a_member_that_lies_outside_of_the_file_does_not_stop_the_others(tmp_path, offset):
    content = bytearray(zip_bytes([("0.png", png(0)), ("1.png", png(10))]))
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 42 : entry + 46] = offset.to_bytes(4, "little")
    (tmp_path / "d.zip").write_bytes(content)
    assert problems(DataConfig(path=str(tmp_path / "d.zip"))) == [None, UNREADABLE_FILE]


def test_an_encrypted_member_does_not_stop_the_others(tmp_path):
    content = bytearray(zip_bytes([("0.png", png(0)), ("1.png", png(10))]))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    content[content.rindex(b"PK\x03\x04") + 6] |= 1
    (tmp_path / "d.zip").write_bytes(content)
    assert problems(DataConfig(path=str(tmp_path / "d.zip"))) == [None, UNREADABLE_FILE]


def test_no_more_is_unpacked_than_an_image_may_have(tmp_path):
    """A bomb is refused by the size that it tells, and one that tells a small size is cut there."""
    honest = zip_bytes([("0.png", bytes(10**7))])
    (tmp_path / "honest.zip").write_bytes(honest)
    assert [x for _, _, x in zips.images(storage_path(str(tmp_path / "honest.zip")), SUFFIXES, range(1), 10**6)] == [
        FILE_TOO_LARGE
    ]
    liar = bytearray(honest)
    for at in (liar.rindex(b"PK\x01\x02") + 24, liar.index(b"PK\x03\x04") + 22):
        liar[at : at + 4] = (100).to_bytes(4, "little")
    (tmp_path / "liar.zip").write_bytes(liar)
    ((_, _, found),) = zips.images(storage_path(str(tmp_path / "liar.zip")), SUFFIXES, range(1), 10**6)
    assert found == UNREADABLE_FILE or len(found) <= 100


def test_two_members_with_one_name_are_refused(tmp_path):
    """Whichever counted would be one that damage to the other's name brought to light."""
    with pytest.warns(UserWarning, match="Duplicate"):
        content = zip_bytes([("CANARY.png", png(10)), ("CANARY.png", png(20))])
    (tmp_path / "d.zip").write_bytes(content)
    with pytest.raises(DataError, match="two members of a zip file have one name") as caught:
        describe(DataConfig(path=str(tmp_path / "d.zip")))
    assert "CANARY" not in str(caught.value) and "\n" not in str(caught.value)


def entry(content: bytes, name: bytes) -> int:
    """Where a member's entry in the directory begins."""
    return content.rindex(name) - 46


@pytest.mark.parametrize(
    ("what", "at", "put"),
    [
        ("place", 42, (40).to_bytes(4, "little")),  # within the member before it
        ("check sum", 16, b"\0\0\0\0"),
        ("way of packing", 10, b"\x63\0"),
        ("encryption", 8, b"\1\0"),
        ("packed size", 20, b"\xff\xff\0\0"),
        ("size", 24, b"\1\0\0\0"),
        ("name", 46, b"2"),
    ],
)
def test_what_the_directory_says_of_one_member_decides_about_that_one_alone(tmp_path, what, at, put):
    """A wrong place within another member makes that one unreadable to newer versions of Python."""
    content = bytearray(zip_bytes([(f"{i}.png", png(10 * i)) for i in (0, 1, 3)]))
    start = entry(content, b"1.png") + at
    content[start : start + len(put)] = put
    (tmp_path / "d.zip").write_bytes(content)
    found = list(load_shard(DataConfig(path=str(tmp_path / "d.zip")), "record", 0, 1, ALL))
    assert values([found[0], found[2]]) == [0, 30]
    assert (found[1].image is not None) == (what == "packed size"), "its data say where they end"


def test_members_that_python_would_take_for_overlapping_are_read(tmp_path):
    """In newer versions of Python a member ends where the next one begins, as the directory has it."""
    (tmp_path / "d.zip").write_bytes(zip_bytes([("0.png", png(0))]))
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:

        class Member(zipfile.ZipInfo):
            _end_offset: int | None = 0

        member = archive.getinfo("0.png")
        newer = Member(member.filename)
        for name in zipfile.ZipInfo.__slots__:
            if hasattr(member, name):
                setattr(newer, name, getattr(member, name))
        newer._end_offset = 1
        assert zips._read(archive, newer, 10**6) == png(0) and newer._end_offset is None


@pytest.mark.parametrize("damage", ["doubled", "cut", "inserted", "before"])
def test_a_directory_that_is_not_where_the_end_says_is_refused(tmp_path, damage):
    """Python looks for all members at other places then, and finds those after the damage alone."""
    content = zip_bytes([(f"{i}.png", png(10 * i)) for i in range(3)])
    at = content.index(b"1.png") + 10
    changed = {
        "doubled": content[: at + 4] + content[at:],
        "cut": content[:at] + content[at + 4 :],
        "inserted": content[:at] + b"\0" + content[at:],
        "before": b"#!/bin/sh\n" + content,
    }[damage]
    (tmp_path / "d.zip").write_bytes(changed)
    with pytest.raises(DataError, match="a zip file is damaged or has bytes put before it") as caught:
        describe(DataConfig(path=str(tmp_path / "d.zip")))
    assert "\n" not in str(caught.value) and "png" not in str(caught.value)


def test_a_directory_that_ends_early_is_refused(tmp_path):
    """Of a directory of length 0 no record would be left, and nobody told."""
    content = bytearray(zip_bytes([("0.png", png(0)), ("1.png", png(10))]))
    end, second = content.rindex(b"PK\5\6"), entry(content, b"1.png")
    content[end + 12 : end + 16] = (int.from_bytes(content[end + 12 : end + 16], "little") - (end - second)).to_bytes(
        4, "little"
    )
    del content[second:end]
    (tmp_path / "d.zip").write_bytes(content)
    with pytest.raises(DataError, match="a zip file is damaged"):
        describe(DataConfig(path=str(tmp_path / "d.zip")))


@pytest.mark.parametrize("comment", [b"", b"made by hand" * 5_000])
def test_directories_for_many_members_and_ends_with_a_comment_are_read(place, monkeypatch, comment):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(3):
            archive.writestr(f"{i}.png", png(10 * i))
        archive.comment = comment
    assert b"PK\6\7" in buffer.getvalue()
    place[1]("d.zip", buffer.getvalue())
    assert values(load_shard(DataConfig(path=place[0]), "record", 0, 1, ALL)) == [0, 10, 20]


def test_what_is_no_zip_file_of_images_is_refused_before_a_model_loads(place):
    path, write = place
    write("0.zip", b"this is no zip file" * 100)
    with pytest.raises(DataError, match="is not a zip file that can be read"):
        describe(DataConfig(path=path))
    write("0.zip", zip_bytes([("notes.txt", b"")]))
    with pytest.raises(DataError, match="holds no image"):
        describe(DataConfig(path=path))
