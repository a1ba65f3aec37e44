"""Formats of private data as pieces of records, and files made of pieces that may be damaged."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from spti_ray.config import DataConfig
from tests.dicom_files import dicom
from tests.statistical.damage import Piece, Pieces

COLUMNS = {"label_column": "label", "group_column": "user"}


@dataclass(frozen=True)
class Sample:
    """One record; `value` is its colour, by which it is known again."""

    number: int
    value: int
    label: str
    group: str

    @property
    def key(self) -> str:
        return f"r{self.number}"

    @property
    def png(self) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (2, 2), (self.value, self.value // 2, 255 - self.value)).save(buffer, "PNG")
        return buffer.getvalue()


@dataclass
class Layout:
    """`pieces` of a record; `write` makes files of pieces under a folder and says what to read.

    `spans`: for an archive the places (file, start, end) of all of a record's bytes in the files just written.
    """

    pieces: Callable[[Sample], Pieces]
    write: Callable[[Path, Pieces], DataConfig]
    has_groups: bool = True
    spans: Callable[[Path, Pieces, int], list[tuple[Path, int, int]]] | None = None


def _file(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# A folder, with and without a table of its columns.


def _image(sample: Sample) -> Piece:
    return Piece(sample.number, "file", f"{sample.label}/{sample.key}.png", sample.png)


def _write_folder(root: Path, pieces: Pieces) -> DataConfig:
    for piece in pieces:
        if piece.kind == "file":
            _file(root, piece.name, piece.content)
    return DataConfig(path=str(root))


def _csv_row(sample: Sample) -> Piece:
    line = io.StringIO()
    name = f"{sample.label}/{sample.key}.png"
    csv.writer(line, lineterminator="").writerow([name, "a note, with a comma", sample.label, sample.group])
    return Piece(sample.number, "row", name, line.getvalue().encode())


def _json_row(sample: Sample) -> Piece:
    name = f"{sample.label}/{sample.key}.png"
    row = {"file_name": name, "note": [1], "label": sample.label, "user": sample.group}
    return Piece(sample.number, "row", name, json.dumps(row).encode())


def _write_table(name: str, header: Sequence[bytes]) -> Callable[[Path, Pieces], DataConfig]:
    def write(root: Path, pieces: Pieces) -> DataConfig:
        _file(root, name, b"\n".join([*header, *(piece.content for piece in pieces if piece.kind == "row")]))
        return _write_folder(root, pieces).model_copy(update=COLUMNS)

    return write


# DICOM files, whose labels and groups are in their headers.


def _dicom(sample: Sample) -> Pieces:
    pixels = np.tile(np.array([sample.value, sample.value // 2, 255 - sample.value], np.uint8), (2, 2, 1))
    content = dicom(pixels, StudyDescription=sample.label, PatientID=sample.group)
    return [Piece(sample.number, "file", f"scans/{sample.key}.dcm", content)]


def _write_dicom(root: Path, pieces: Pieces) -> DataConfig:
    data = _write_folder(root, pieces)
    return data.model_copy(update={"label_column": "StudyDescription", "group_column": "PatientID"})


# Archives.


def _zip_member(sample: Sample) -> Pieces:
    return [Piece(sample.number, "member", f"{sample.label}/{sample.key}.png", sample.png)]


def _write_zip(root: Path, pieces: Pieces) -> DataConfig:
    root.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), zipfile.ZipFile(root / "d.zip", "w") as archive:
        warnings.simplefilter("ignore")  # of two members with one name
        for i, piece in enumerate(pieces):
            archive.writestr(piece.name, piece.content, zipfile.ZIP_DEFLATED if i % 2 else zipfile.ZIP_STORED)
    return DataConfig(path=str(root / "d.zip"))


def _zip_spans(root: Path, pieces: Pieces, victim: int) -> list[tuple[Path, int, int]]:
    """Of the member, and of its entry in the directory."""
    path = root / "d.zip"
    raw = path.read_bytes()
    spans: list[tuple[Path, int, int]] = []
    at = raw.index(b"PK\x01\x02")
    with zipfile.ZipFile(path) as archive:
        starts = [member.header_offset for member in archive.infolist()] + [at]
    for i, piece in enumerate(pieces):
        lengths = struct.unpack("<HHH", raw[at + 28 : at + 34])
        if piece.owner == victim:
            spans += [(path, starts[i], starts[i + 1]), (path, at, at + 46 + sum(lengths))]
        at += 46 + sum(lengths)
    return spans


def _members(sample: Sample) -> Pieces:
    texts = {"cls": sample.label, "user": f"{sample.group}\n"}
    found = [Piece(sample.number, "member", f"d/{sample.key}.{end}", text.encode()) for end, text in texts.items()]
    return [found[0], Piece(sample.number, "member", f"d/{sample.key}.png", sample.png), found[1]]


def _members_with_json(sample: Sample) -> Pieces:
    """A name beyond ASCII has a header of its own, which has no check sum."""
    row = json.dumps({"cls": sample.label, "user": sample.group}).encode()
    return [
        Piece(sample.number, "member", f"{sample.key}\u00e9.{end}", content)
        for end, content in (("json", row), ("png", sample.png))
    ]


def _tar(pieces: Pieces) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for piece in pieces:
            member = tarfile.TarInfo(piece.name)
            member.size = len(piece.content)
            tar.addfile(member, io.BytesIO(piece.content))
    return buffer.getvalue()


def _write_tar(root: Path, pieces: Pieces) -> DataConfig:
    _file(root, "d.tar", _tar(pieces))
    return DataConfig(path=str(root), label_column="cls", group_column="user")


def _write_packed_tar(root: Path, pieces: Pieces) -> DataConfig:
    _file(root, "d.tar.gz", gzip.compress(_tar(pieces), 1))
    return DataConfig(path=str(root), label_column="cls", group_column="user")


def _packed_span(root: Path, pieces: Pieces, victim: int) -> list[tuple[Path, int, int]]:
    """Anywhere: what is packed is no record's alone."""
    return [(root / "d.tar.gz", 0, (root / "d.tar.gz").stat().st_size)]


def _tar_spans(root: Path, pieces: Pieces, victim: int) -> list[tuple[Path, int, int]]:
    path = root / "d.tar"
    spans: list[tuple[Path, int, int]] = []
    with tarfile.open(path) as tar:
        starts = [member.offset for member in tar.getmembers()]
        ends = [*starts[1:], tar.offset]
    for piece, start, end in zip(pieces, starts, ends, strict=True):
        if piece.owner == victim:
            spans.append((path, start, end))
    return spans


# Tables.


def _cells(sample: Sample) -> Pieces:
    cells = {"image": sample.png, "label": sample.label.encode(), "user": sample.group.encode()}
    return [Piece(sample.number, "cell", name, content) for name, content in cells.items()]


def _path_cells(sample: Sample) -> Pieces:
    name = f"{sample.key}.png"
    image, *others = _cells(sample)
    return [
        Piece(sample.number, "file", name, image.content),
        Piece(sample.number, "cell", "image", name.encode()),
        *others,
    ]


def _table(pieces: Pieces, image: str) -> pa.Table:
    """Texts as the bytes that they are, UTF-8 or not; a cell that is not there is null."""
    rows: dict[int, dict[str, bytes]] = {}
    for piece in pieces:
        if piece.kind == "cell":
            rows.setdefault(piece.owner, {})[piece.name] = piece.content
    columns = {
        name: pa.array([row.get(name) for row in rows.values()], pa.binary()) for name in ("image", "label", "user")
    }
    texts = {name: columns[name].view(pa.string()) for name in ("label", "user")}
    images = columns["image"]
    if image == "struct":
        none = pa.nulls(len(rows), pa.string())
        images = pa.StructArray.from_arrays([images, none], ["bytes", "path"])
    return pa.table({"image": images.view(pa.string()) if image == "path" else images, **texts})


def _halves(table: pa.Table) -> list[pa.Table]:
    middle = len(table) // 2
    return [table.slice(0, middle), table.slice(middle)]


def _write_parquet(image: str, num_files: int) -> Callable[[Path, Pieces], DataConfig]:
    def write(root: Path, pieces: Pieces) -> DataConfig:
        _write_folder(root, pieces)
        root.mkdir(parents=True, exist_ok=True)
        table = _table(pieces, image)
        for i, part in enumerate(_halves(table) if num_files > 1 else [table]):
            pq.write_table(part, root / f"{i}.parquet", row_group_size=2)
        return DataConfig(path=str(root if num_files > 1 or image != "path" else root / "0.parquet"), **COLUMNS)

    return write


def _write_saved(root: Path, pieces: Pieces) -> DataConfig:
    """As `save_to_disk` of `datasets` writes it."""
    root.mkdir(parents=True, exist_ok=True)
    names = []
    for i, part in enumerate(_halves(_table(pieces, "struct"))):
        names.append(f"data-{i:05d}-of-00002.arrow")
        with pa.OSFile(str(root / names[-1]), "wb") as file, pa.ipc.new_stream(file, part.schema) as stream:
            stream.write_table(part, max_chunksize=2)
    _file(root, "state.json", json.dumps({"_data_files": [{"filename": name} for name in names]}).encode())
    return DataConfig(path=str(root), **COLUMNS)


# Databases.


def _entry(sample: Sample) -> Pieces:
    return [Piece(sample.number, "entry", f"{sample.label}/{sample.key}", sample.png)]


def _write_lmdb(root: Path, pieces: Pieces) -> DataConfig:
    import lmdb

    for label in ("x", "y"):
        (root / label).mkdir(parents=True, exist_ok=True)
        with (
            lmdb.open(str(root / label), map_size=2**22, sync=False) as environment,
            environment.begin(write=True) as transaction,
        ):
            for piece in pieces:
                folder, _, key = piece.name.partition("/")
                if folder == label:
                    transaction.put(key.encode(), piece.content)
    return DataConfig(path=str(root))


LAYOUTS: dict[str, Layout] = {
    "folder": Layout(lambda s: [_image(s)], _write_folder, has_groups=False),
    "folder with csv": Layout(
        lambda s: [_image(s), _csv_row(s)], _write_table("metadata.csv", [b"file_name,note,label,user"])
    ),
    "folder with jsonl": Layout(lambda s: [_image(s), _json_row(s)], _write_table("metadata.jsonl", [])),
    "zip": Layout(_zip_member, _write_zip, has_groups=False, spans=_zip_spans),
    "tar": Layout(_members, _write_tar, spans=_tar_spans),
    "packed tar": Layout(_members_with_json, _write_packed_tar, spans=_packed_span),
    "parquet": Layout(_cells, _write_parquet("bytes", 1)),
    "parquet files": Layout(_cells, _write_parquet("struct", 2)),
    "parquet of paths": Layout(_path_cells, _write_parquet("path", 1)),
    "saved data set": Layout(_cells, _write_saved),
    "lmdb": Layout(_entry, _write_lmdb, has_groups=False),
}
if importlib.util.find_spec("pydicom") is not None:  # else the tests of DICOM say what is missing
    LAYOUTS["dicom"] = Layout(_dicom, _write_dicom)
