"""`spti verify` on exports: what an export holds is what the manifest names, in every format."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.dp.storage import open_chain
from spti_ray.release.export.command import export_release
from spti_ray.release.export.formats import WRITERS
from spti_ray.release.verify import verify_release
from tests.unit.release.test_verify import finished

LABELS = ("dog", "cat", "dog")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a run, and its release in every format."""
    root = tmp_path_factory.mktemp("made")
    release = finished(root, labels=LABELS)
    for format in WRITERS:
        list(export_release(release, format, str(root / format)))
    return root


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    def copy(format: str) -> Path:
        shutil.copytree(made / "ledger", tmp_path / "ledger", dirs_exist_ok=True)
        return Path(shutil.copytree(made / format, tmp_path / format, dirs_exist_ok=True))

    return copy


@pytest.mark.parametrize("format", WRITERS)
def test_verifying_an_export_says_how_far_it_is(format, made):
    told = []
    chain = open_chain(made / "ledger", "stickers")
    assert all(check.holds for check in verify_release(made / format, chain, lambda *step: told.append(step)))
    assert told == [("checking images", done, len(LABELS)) for done in range(len(LABELS))]


def failures(export: Path) -> list[str]:
    found = [c for c in verify_release(export, open_chain(export.parent / "ledger", "stickers")) if not c.holds]
    assert all("\n" not in check.detail for check in found)
    return [check.field for check in found]


def data_file(export: Path) -> Path:
    (path,) = (path for path in (export / "data").iterdir() if path.suffix != ".json")
    return path


@pytest.mark.parametrize("format", WRITERS)
def test_an_export_is_proved_with_the_ledger_and_its_files_without(made: Path, format: str):
    with_ledger = CliRunner().invoke(app, ["verify", str(made / format), "--ledger", str(made / "ledger")])
    assert with_ledger.exit_code == 0 and "ok   epsilon: 2" in with_ledger.output
    assert "NOT PROVED" not in with_ledger.output and "\n?" not in with_ledger.output
    alone = CliRunner().invoke(app, ["verify", str(made / format)])
    assert alone.exit_code == 0 and "\n?    ledger: none was given" in alone.output, alone.output
    assert alone.output.endswith("checks hold; NOT PROVED, for want of the ledger\n")
    what = "release.images on disk" if format == "imagefolder" else f"release.data as {format}"
    for done in (with_ledger, alone):
        assert f"ok   {what}" in done.output


def with_table(export: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Rewrite the data of an export as Parquet, or of saved datasets."""
    path = data_file(export)
    if path.suffix == ".parquet":
        pq.write_table(change(pq.read_table(path)), path)
        return
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        table = change(stream.read_all())
    with pa.ipc.new_stream(str(path), table.schema) as sink:
        sink.write_table(table)


def first_is(column: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        at = table.column_names.index(column)
        values = pa.array([value, *table[column].to_pylist()[1:]], table.field(at).type)
        return table.set_column(at, table.field(at), values)

    return change


def other_names(table: pa.Table) -> pa.Table:
    """The classes' names the other way around, in what `datasets` takes them from."""
    metadata = dict(table.schema.metadata)
    metadata[b"huggingface"] = metadata[b"huggingface"].replace(b'["cat", "dog"]', b'["dog", "cat"]')
    return table.replace_schema_metadata(metadata)


@pytest.mark.parametrize("format", ["parquet", "datasets"])
@pytest.mark.parametrize(
    "change",
    [
        first_is("text", "a dog"),
        first_is("label", 0),
        first_is("label", 7),
        first_is("label_name", "cat"),
        first_is("seed", 9),
        first_is("image", {"bytes": b"another", "path": "0.png"}),
        first_is("image", None),
        lambda table: table.slice(1),
        lambda table: pa.concat_tables([table, table.slice(1, 1)]),
        lambda table: table.append_column("blessed_by", [["nobody"] * 3]),
        lambda table: table.drop_columns("seed").append_column("seed", table["seed"].cast(pa.float64())),
        lambda table: table.drop_columns("seed"),
        lambda table: table.drop_columns("image"),
        lambda table: table.append_column("text", table["text"]),
    ],
)
def test_rows_that_are_not_the_manifests_are_noticed(copied: Any, format: str, change: Callable[[pa.Table], pa.Table]):
    export = copied(format)
    with_table(export, change)
    (failed,) = failures(export)
    assert failed.startswith("release.data")


def test_classes_under_other_names_are_noticed(copied: Any):
    export = copied("parquet")
    with_table(export, other_names)
    assert failures(export) == ["release.data"]
    export = copied("datasets")
    info = export / "data" / "dataset_info.json"
    document = json.loads(info.read_text())
    document["features"]["label"]["names"] = ["dog", "cat"]
    info.write_text(json.dumps(document))
    assert failures(export) == ["release.data"], "datasets takes the names from here"


@pytest.mark.parametrize(
    "state", [{"_data_files": []}, {"_data_files": [{"filename": "../x.arrow"}]}, {"_indices_data_files": [1]}, {}]
)
def test_saved_datasets_that_read_other_files_than_are_there_are_noticed(copied: Any, state: dict[str, Any]):
    export = copied("datasets")
    path = export / "data" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **state} if state else []))
    assert failures(export) == ["release.data"]


Members = list[tuple[tarfile.TarInfo, bytes]]


def with_members(export: Path, change: Callable[[Members], Members]) -> None:
    path = data_file(export)
    members: Members = []
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            members.append((member, content.read()))
    with tarfile.open(path, "w") as tar:
        for member, content in change(members):
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def of(ending: str, content: bytes) -> Callable[[Members], Members]:
    """The first member with this ending has other content."""

    def change(members: Members) -> Members:
        at = next(number for number, (member, _) in enumerate(members) if member.name.endswith(ending))
        return [*members[:at], (members[at][0], content), *members[at + 1 :]]

    return change


def named(name: str, kind: bytes = tarfile.REGTYPE) -> Members:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/hostname"
    return [(member, b"")]


@pytest.mark.parametrize(
    "change",
    [
        of(".png", b"another"),
        of(".txt", b"a dog"),
        of(".txt", b"\xff"),
        of(".cls", b"0"),
        of(".cls", b"7"),
        of(".cls", b" 1"),
        of(".cls", b"dog"),
        of(".json", b"{}"),
        of(".json", b"[]"),
        of(".json", b"[" * 100_000),
        lambda members: members[4:],
        lambda members: members[:-1],
        lambda members: [*members, *members[:4]],
        lambda members: [*members[:4], members[3], *members[4:]],
        lambda members: [*members[:4], *named("0.seg"), *members[4:]],
        lambda members: [*members, *named("x/0.png")],
        lambda members: [*members, *named("link.png", tarfile.SYMTYPE)],
        lambda members: [*members, *named("extra.png")],
        lambda members: [],
    ],
)
def test_samples_that_are_not_the_manifests_are_noticed(copied: Any, change: Callable[[Members], Members]):
    export = copied("webdataset")
    with_members(export, change)
    (failed,) = failures(export)
    assert failed.startswith("release.data")


def test_images_in_another_classs_folder_or_altered_added_or_missing_are_noticed(copied: Any, tmp_path: Path):
    data = copied("classfolders") / "data"
    (image,) = (data / "cat").iterdir()

    def notices() -> bool:
        return failures(data.parent) in (["release.data"], ["release.data as classfolders"])

    content = image.read_bytes()
    (data / "dog" / image.name).write_bytes(content)
    assert notices()
    image.unlink()
    assert notices()
    (data / "dog" / image.name).unlink()
    assert notices()
    image.write_bytes(content + b"x")
    assert notices()
    image.unlink()
    (tmp_path / "elsewhere.png").write_bytes(content)
    image.symlink_to(tmp_path / "elsewhere.png")
    assert notices()
    image.unlink()
    image.write_bytes(content)
    assert failures(data.parent) == []
    (data / "cat" / "notes.bin").write_bytes(b"")
    assert notices()


@pytest.mark.parametrize("format", [format for format in WRITERS if format != "imagefolder"])
@pytest.mark.parametrize("content", [b"", b"PAR1" + bytes(40) + b"PAR1", b"\xff" * 3000])
def test_junk_in_place_of_an_exports_data_is_one_line(copied: Any, format: str, content: bytes):
    export = copied(format)
    path = next(path for path in sorted((export / "data").rglob("*")) if path.is_file())
    path.write_bytes(content)
    (failed,) = failures(export)
    assert failed.startswith("release.data")


@pytest.mark.parametrize("format", WRITERS)
def test_other_data_in_an_export_or_beside_it_are_noticed(copied: Any, format: str):
    export = copied(format)
    (export / "README.md").write_text("---\nlicense: cc0-1.0\n---\n\nOurs.")
    (export / "LICENSE").write_text("CC0")
    assert failures(export) == []
    Image.new("RGB", (4, 4)).save(export / "extra.png")
    assert len(failures(export)) == 1
    (export / "extra.png").unlink()
    (export / "data").mkdir(exist_ok=True)
    for name in (
        ("data/test-00000-of-00001.parquet", "test.parquet") if format != "imagefolder" else ("data/x.parquet",)
    ):
        pq.write_table(pa.table({"text": ["smuggled"]}), export / name)
        assert len(failures(export)) == 1, name
        (export / name).unlink()


@pytest.mark.parametrize(
    "head",
    [
        "configs:\n- config_name: default\n  data_files: notes.bin",
        "dataset_info: {features: [{name: label, dtype: {class_label: {names: {'0': dog, '1': cat}}}}]}",
        "'configs': []",
        "a: [",
        "- x",
    ],
)
def test_a_card_that_tells_loaders_to_read_something_else_is_noticed(copied: Any, head: str):
    export = copied("parquet")
    (export / "README.md").write_text(f"---\n{head}\n---\n")
    assert failures(export) == ["release.other data beside it"]
