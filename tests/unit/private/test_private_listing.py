"""Which files are records: each once, in every process the same ones, wherever the data are."""

import io
import os
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import storage_path
from spti_ray.private import listing
from spti_ray.private.dataset import load_shard
from spti_ray.private.kinds import DataError
from spti_ray.private.source import describe, fingerprint
from tests.unit.private.conftest import png, values

ALL = ("all",)
CANARY = "CANARY-7f3a"


def parquet_bytes(numbers, **columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": [png(v) for v in numbers], **columns}), buffer)
    return buffer.getvalue()


def zip_bytes(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


CONTENT = {".png": png(10), ".parquet": parquet_bytes([10]), ".zip": zip_bytes(("1.png", png(10)))}


@pytest.fixture(params=CONTENT)
def ending(request):
    return request.param


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def read(data: DataConfig, labels=ALL):
    return list(load_shard(data, "record", 0, 1, labels))


def refusal(data: DataConfig, unit="record", labels=ALL) -> str:
    """Of planning, and of a shard alike."""
    with pytest.raises(DataError) as caught:
        describe(data, unit, labels)
    with pytest.raises(DataError):
        list(load_shard(data, unit, 0, 2, labels))
    assert CANARY not in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("how", ["link", "hard link", "link to a folder", "link over two folders"])
def test_one_file_under_two_names_is_refused(folder, ending, how, follow):
    (folder / CANARY).mkdir()
    (folder / CANARY / f"1{ending}").write_bytes(CONTENT[ending])
    data = DataConfig(path=str(folder), follow_links=follow)
    assert values(read(data)) == [10]
    if how == "link":
        (folder / f"2{ending}").symlink_to(folder / CANARY / f"1{ending}")
    elif how == "hard link":
        os.link(folder / CANARY / f"1{ending}", folder / f"2{ending}")
    else:
        (folder / "again").symlink_to(folder / CANARY)
        if how == "link over two folders":
            (folder / "once more").symlink_to(folder / "again")
    assert "one file under two names" in refusal(data)


def test_equal_files_are_as_many_records(folder):
    for name in ("1.png", "2.png", "2.PNG"):
        (folder / name).write_bytes(png(10))
    assert values(read(DataConfig(path=str(folder)))) == [10, 10, 10]


@pytest.mark.parametrize("to", ["file", "folder"])
def test_links_out_of_the_folder_are_followed_only_where_that_is_set(folder, tmp_path, ending, to):
    (folder / f"1{ending}").write_bytes(CONTENT[ending])
    outside = tmp_path / CANARY / f"2{ending}"
    outside.parent.mkdir()
    outside.write_bytes(CONTENT[ending])
    (folder / (f"2{ending}" if to == "file" else "more")).symlink_to(outside if to == "file" else outside.parent)
    data = DataConfig(path=str(folder))
    assert "set data.follow_links" in refusal(data)
    assert values(read(data.model_copy(update={"follow_links": True}))) == [10, 10]


def test_no_folder_outside_is_gone_into_unasked(folder, tmp_path):
    (folder / "1.png").write_bytes(png(10))
    (tmp_path / "outside").mkdir()
    (folder / "more").symlink_to(tmp_path / "outside")
    assert "set data.follow_links" in refusal(DataConfig(path=str(folder)))
    assert values(read(DataConfig(path=str(folder), follow_links=True))) == [10]


def test_links_that_stay_inside_are_followed(folder, ending):
    (folder / ".store").mkdir()
    (folder / ".store" / "7f3a").write_bytes(CONTENT[ending])
    (folder / f"1{ending}").symlink_to(".store/7f3a")
    assert values(read(DataConfig(path=str(folder)))) == [10]


def test_a_link_to_nothing_casts_no_vote_and_one_that_goes_round_is_refused(folder):
    (folder / "1.png").write_bytes(png(10))
    (folder / "2.png").symlink_to("/nowhere")
    (folder / "3.png").symlink_to("3.png")
    data = DataConfig(path=str(folder), follow_links=True)
    assert [record.problem for record in read(data)] == [None, "unreadable file", "unreadable file"]
    (folder / "round").symlink_to(folder)
    assert "a folder that the link is in" in refusal(data)


def test_the_cache_of_a_hub_is_read_by_the_names_of_its_links(tmp_path):
    """Files lie under their hashes, and links to them have the names."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for i in range(2):
        (blobs / f"{i:064x}").write_bytes(parquet_bytes([10 * i]))
        (snapshot / f"{i}.parquet").symlink_to(f"../../blobs/{i:064x}")
    data = DataConfig(path=str(snapshot), follow_links=True)
    assert describe(data).kind == "parquet" and values(read(data)) == [0, 10]
    assert values(read(DataConfig(path=str(tmp_path)))) == [0, 10], "no link leads out of the whole cache"
    one = DataConfig(path=str(snapshot / "1.parquet"))
    assert describe(one).kind == "parquet" and values(read(one)) == [10], "what is named is followed"
    (tmp_path / "zipped").write_bytes(CONTENT[".zip"])
    (tmp_path / "z.zip").symlink_to("zipped")
    assert describe(DataConfig(path=str(tmp_path / "z.zip"))).kind == "zip"
    (tmp_path / "link").symlink_to(snapshot)
    assert "set data.follow_links" in refusal(DataConfig(path=str(tmp_path / "link")))


def test_a_path_in_a_table_follows_links_out_only_where_that_is_set(folder, tmp_path):
    (tmp_path / "out.png").write_bytes(png(10))
    (folder / "in.png").write_bytes(png(20))
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    paths = ["link.png", "./in.png", "x\\..\\in.png", "../out.png", "..\\out.png", str(tmp_path / "out.png")]
    pq.write_table(pa.table({"image": paths}), folder / "p.parquet")
    for follow in (False, True):
        data = DataConfig(path=str(folder / "p.parquet"), follow_links=follow)
        found = [None if record.image is None else int(record.image[0, 0, 0]) for record in read(data)]
        assert found == [10 if follow else None, 20, 20, None, None, None]


def test_the_images_that_a_single_table_names_count_for_caches(folder):
    (folder / "1.png").write_bytes(png(10))
    pq.write_table(pa.table({"image": ["1.png"]}), folder / "p.parquet")
    data = DataConfig(path=str(folder / "p.parquet"))
    before = fingerprint(describe(data))
    assert fingerprint(describe(data)) == before
    (folder / "1.png").write_bytes(png(20) + b"more")
    assert fingerprint(describe(data)) != before


def test_one_file_listed_twice_by_a_saved_data_set_is_refused(folder):
    import json

    table = pa.table({"image": [png(10)]})
    with pa.OSFile(str(folder / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    listed = [{"filename": "a.arrow"}] * 2
    (folder / "state.json").write_text(json.dumps({"_data_files": listed}))
    assert "twice" in (text := refusal(DataConfig(path=str(folder)))) or "two names" in text


def test_two_members_of_a_zip_file_that_are_the_same_bytes_are_refused(folder):
    content = bytearray(zip_bytes(("1.png", png(10)), ("2.png", png(20))))
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 42 : entry + 46] = bytes(4)
    (folder / "z.zip").write_bytes(content)
    assert "zip file" in refusal(DataConfig(path=str(folder)))


def test_a_folder_that_can_not_be_listed_is_an_error(folder, monkeypatch):
    (folder / "1.png").write_bytes(png(10))
    (folder / CANARY).mkdir()
    (folder / CANARY / "2.png").write_bytes(png(20))
    scandir = os.scandir

    def closed(path):
        if str(path).endswith(CANARY):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert "can't be read; check its permissions" in refusal(DataConfig(path=str(folder)))


@pytest.mark.parametrize("change", ["comes", "goes", "grows", "metadata"])
def test_files_that_change_while_they_are_read_end_the_reading(place, change):
    path, write = place
    for i in range(3):
        write(f"{i}.png", png(10 * i))
    data = DataConfig(path=path)
    reading = load_shard(data, "record", 0, 1, ALL)
    next(reading)
    if change == "goes":
        there = storage_path(f"{path}/2.png")
        there.filesystem.delete_file(there.path)
    else:
        write({"comes": "3.png", "grows": "2.png", "metadata": "metadata.csv"}[change], png(20) + b"more")
    with pytest.raises(DataError, match="changed while the run started"):
        list(reading)


def test_a_file_that_is_replaced_by_one_of_its_size_is_another(folder):
    (folder / "1.png").write_bytes(png(10))
    reading = load_shard(DataConfig(path=str(folder)), "record", 0, 1, ALL)
    next(reading)
    os.utime(folder / "1.png", ns=(1, 1))
    with pytest.raises(DataError, match="changed while the run started"):
        list(reading)


def test_bundled_data_are_the_same_whenever_a_machine_installed_them(folder, monkeypatch):
    (folder / "1.png").write_bytes(png(10))
    source = describe(DataConfig(path=str(folder)))
    seen = []
    for package in ("/elsewhere", str(folder)):
        monkeypatch.setattr(listing, "_PACKAGE", package)
        for time in (1, 2):
            os.utime(folder / "1.png", ns=(time, time))
            seen.append(fingerprint(source))
    assert seen[0] != seen[1] and seen[2] == seen[3]


def test_a_shard_reads_no_other_files_than_those_of_the_driver(place):
    path, write = place
    write("1.png", png(10))
    data = DataConfig(path=path)
    hashed = fingerprint(describe(data))
    assert values(load_shard(data, "record", 0, 1, ALL, hashed)) == [10]
    write("0.png", png(20))
    with pytest.raises(DataError, match="differ between machines") as caught:
        next(load_shard(data, "record", 0, 1, ALL, hashed))
    assert hashed not in str(caught.value)


def test_names_with_an_underscore_are_images_and_no_tables_wherever_they_are(place):
    path, write = place
    write("images/_DSC1.png", png(10))
    write("images/_x/2.png", png(20))
    write("images/.hidden/3.png", png(30))
    assert values(read(DataConfig(path=f"{path}/images"))) == [10, 20]
    write("tables/1.parquet", parquet_bytes([10]))
    write("tables/_temporary/1.parquet", parquet_bytes([20]))
    write("tables/_2.parquet", parquet_bytes([30]))
    assert values(read(DataConfig(path=f"{path}/tables"))) == [10]


def test_what_is_not_there_is_told_as_missing(place):
    path, _ = place
    missing = [f"{path}/nowhere"]
    if path.startswith("s3://"):
        missing += ["s3://no-such-bucket/data", "s3://no-such-bucket"]
    for where in missing:
        assert f"data.path: {where!r} does not exist" in refusal(DataConfig(path=where))


def test_a_name_that_is_no_utf_8_blocks_nothing_and_is_not_shown(folder, ending):
    (folder / f"1{ending}").write_bytes(CONTENT[ending])
    with open(os.fsencode(folder) + b"/caf\xe9" + ending.encode(), "wb") as file:
        file.write(CONTENT[ending])
    with open(os.fsencode(folder) + b"/\xe9.txt", "wb") as file:
        file.write(b"")
    data = DataConfig(path=str(folder))
    assert values(read(data)) == [10, 10] and len(fingerprint(describe(data))) == 64


def test_the_format_of_a_mixed_folder_can_be_set(place):
    """As img2dataset writes it: tar files, and a table of what is in each."""
    import tarfile

    path, write = place
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("000000000.png")
        member.size = len(png(10))
        tar.addfile(member, io.BytesIO(png(10)))
    write("00000.tar", buffer.getvalue())
    write("00000.parquet", parquet_bytes([20]))
    write("00000_stats.json", b"{}")
    assert "or set data.format" in refusal(DataConfig(path=path))
    assert values(read(DataConfig(path=path, format="webdataset"))) == [10]
    assert values(read(DataConfig(path=path, format="parquet"))) == [20]
    assert "data.format" in refusal(DataConfig(path=path, format="zip"))


def test_a_database_in_a_folder_whose_name_is_no_utf_8_is_read(folder):
    import lmdb

    where = os.fsencode(folder) + b"/caf\xe9"
    os.mkdir(where)
    environment = lmdb.open(where, map_size=2**20)
    with environment.begin(write=True) as transaction:
        transaction.put(b"1", png(10))
    environment.close()
    assert values(read(DataConfig(path=str(folder)))) == [10]


def test_each_value_of_an_lmdb_database_is_a_record_and_planning_says_so(folder):
    import lmdb

    environment = lmdb.open(str(folder), map_size=2**20)
    with environment.begin(write=True) as transaction:
        for size in (128, 256):
            transaction.put(f"{size}-00000".encode(), png(10))
    environment.close()
    assert "several sizes" in describe(DataConfig(path=str(folder))).warning
    assert describe(DataConfig(path="bundled:stickers")).warning == ""
