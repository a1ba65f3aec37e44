import errno
import os
import stat

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spti_ray.io.files import (
    DiskFull,
    atomic_file,
    is_inside,
    private_folder,
    remove_abandoned,
    write_atomic,
    write_new,
    write_table_atomic,
)


def test_write_replaces_the_whole_file_and_sets_the_mode(tmp_path):
    path = tmp_path / "state.json"
    write_atomic(path, "a long first text")
    write_atomic(path, "grün", mode=0o600)
    assert path.read_text(encoding="utf-8") == "grün"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_bytes_and_tables_round_trip(tmp_path):
    write_atomic(tmp_path / "raw", b"\x00\xff")
    assert (tmp_path / "raw").read_bytes() == b"\x00\xff"
    table = pa.table({"id": ["a", "b"]})
    write_table_atomic(tmp_path / "t.parquet", table)
    assert pq.read_table(tmp_path / "t.parquet").equals(table)


def test_a_failure_inside_the_block_keeps_the_old_file_and_no_temp(tmp_path):
    path = tmp_path / "state"
    write_atomic(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as file:
        file.write(b"half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch, call, code):
    path = tmp_path / "state"
    write_atomic(path, "old")

    def full(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DiskFull) as caught:
        write_atomic(path, "new")
    assert isinstance(caught.value, OSError) and caught.value.errno == code
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and "Errno" not in str(caught.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_parquet_on_a_full_disk_is_disk_full_too(tmp_path, monkeypatch):
    monkeypatch.setattr("spti_ray.io.files.tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), None))
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    with pytest.raises(DiskFull, match=r"t\.parquet"):
        write_table_atomic(tmp_path / "t.parquet", pa.table({"x": list(range(100_000))}))


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "state", "x")


def test_the_file_is_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def spy_replace(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    write_atomic(tmp_path / "state", "x")
    assert calls == ["file", "rename", "folder"]


def test_a_private_folder_is_closed_to_others_even_if_it_was_open(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    for path in (private_folder(tmp_path / "open"), private_folder(tmp_path / "new" / "deep")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_new_file_replaces_none_that_is_there(tmp_path):
    write_new(tmp_path / "a.yaml", "first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a.yaml", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"] and (tmp_path / "a.yaml").read_text() == "first"


def test_what_a_manifest_names_must_stay_in_its_folder(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    (tmp_path / "outside.png").touch()
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    assert is_inside(folder, "images/0.png") and is_inside(folder, "a/../b.png")
    for name in ("../outside.png", "/etc/passwd", "link.png", "circle.png", "a\0b", 3, None):
        assert not is_inside(folder, name), name


def test_temporary_files_that_nobody_writes_any_more_are_removed_and_others_stay(tmp_path):
    (tmp_path / "below").mkdir()
    for folder in (tmp_path, tmp_path / "below"):
        (folder / ".tmp-left").write_bytes(b"x")
        (folder / "kept.tmp-").write_bytes(b"x")
    (tmp_path / ".tmp-folder").mkdir()
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "below" / "kept.tmp-")
    with atomic_file(tmp_path / "below" / "state") as file:
        file.write(b"new")
        remove_abandoned(tmp_path)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == [".tmp-folder", ".tmp-link", "below", "below/kept.tmp-", "below/state", "kept.tmp-"]
    assert (tmp_path / "below" / "state").read_bytes() == b"new"


def test_a_file_system_without_locks_is_written_as_any_other(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / ".tmp-perhaps").write_bytes(b"x")
    write_atomic(tmp_path / "state", "x")
    remove_abandoned(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".tmp-perhaps", "state"]
