"""Writes a release in one of several formats into an empty folder, one image at a time, byte for byte.

Parquet and WebDataset files are named as Hugging Face names the parts of a split, so that its loaders can tell them
from the documents beside them. They hold nothing about this machine: no times, no owners, no paths.

Classes are numbered by their labels in alphabetical order, as loaders number folders. `contents` reads it all back.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.io.files import sha256_of
from spti_ray.public.croissant import CROISSANT, written
from spti_ray.public.croissant_data import described
from spti_ray.public.release import MANIFEST
from spti_ray.release.export.released import NotExported, Released, Row
from spti_ray.step_progress import Told

_FILE_BYTES = 500 * 2**20
"""Bytes of images in one Parquet or tar file, about: an image is never split."""

_ROW_GROUP = 100
"""Rows in a group, of which a reader holds one in memory; `datasets` uses the same number for images."""

LABEL_NAME = "label_name"
"""Column of the label as text, beside `label`, which is then the number of its class."""

_LONGEST_NAME = 255
"""Bytes of a folder's name on most file systems."""

_WRITING = "writing images"

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def imagefolder(released: Released, folder: Path, told: Told) -> None:
    """The release as it is: `images/`, and `metadata.jsonl` with the texts and labels, as Hugging Face reads it."""
    (folder / "images").mkdir()
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for row, image in _images(released, told):
            (folder / row["file"]).write_bytes(image)
            line = {"file_name": row["file"], "text": row["text"], "label": row["label"]}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def classfolders(released: Released, folder: Path, told: Told) -> None:
    """Images alone, each in the folder of its label, as torchvision's `ImageFolder` and many trainers read them."""
    for label in class_names(released.table):
        # The manifest may be anybody's, and no name of a folder may lead out of the export or hide there.
        is_name = label and "/" not in label and "\0" not in label and label[0] != "."
        if not is_name or len(label.encode()) > _LONGEST_NAME:
            raise NotExported(
                f"--format classfolders: label {label[:80]!r} can't be a folder's name; take another format"
            )
        (folder / "data" / label).mkdir(parents=True)
    for row, image in _images(released, told):
        (folder / "data" / row["label"] / PurePosixPath(row["file"]).name).write_bytes(image)


def parquet(released: Released, folder: Path, told: Told) -> None:
    """Columns `image` (a struct of bytes and path, which `datasets` opens as an image) and all of the manifest.

    `label` is the class, which `datasets` knows by name; its name as text is in LABEL_NAME.
    """
    schema, classes, done = _schema(released), _numbers(released), 0
    for name, rows in _parts(released, folder, "parquet"):
        with pq.ParquetWriter(name, schema, compression="zstd") as writer:
            for start in range(0, len(rows), _ROW_GROUP):
                told(_WRITING, done + start, released.table.num_rows)
                group = [_columns(row, released.image(row), classes) for row in rows[start : start + _ROW_GROUP]]
                writer.write_table(pa.Table.from_pylist(group, schema))
        done += len(rows)


def webdataset(released: Released, folder: Path, told: Told) -> None:
    """Samples of an image, its text as `txt`, its class as `cls`, all of the manifest (label, seed, ...) as `json`."""
    classes, done = _numbers(released), 0
    for name, rows in _parts(released, folder, "tar"):
        with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as tar:
            for number, row in enumerate(rows, done):
                told(_WRITING, number, released.table.num_rows)
                path = PurePosixPath(row["file"])
                key = path.stem.replace(".", "-")  # A key ends at the first dot.
                _add(tar, f"{key}{path.suffix.lower()}", released.image(row))
                _add(tar, f"{key}.txt", row["text"].encode())
                _add(tar, f"{key}.cls", str(classes[row["label"]]).encode())
                _add(tar, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
        done += len(rows)


def saved_datasets(released: Released, folder: Path, told: Told) -> None:
    """What `save_to_disk` of Hugging Face `datasets` writes, with the columns of `parquet`."""
    try:
        import datasets
        from datasets.exceptions import DatasetGenerationError
    except ImportError:
        raise NotExported("--format datasets needs another library: pip install 'spti-ray[datasets]'") from None
    # It pickles what it makes the data from, so nothing that shows progress can go in there.
    told(_WRITING, 0, 0)
    schema = _schema(released)
    features = datasets.Features.from_arrow_schema(schema)
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".tmp-") as cache:
            made = datasets.Dataset.from_generator(
                _examples, features, cache_dir=cache, gen_kwargs={"released": released}, keep_in_memory=False
            )
            made.info.splits = made.info.download_checksums = None  # of the cache
            made.save_to_disk(folder / "data", max_shard_size=_FILE_BYTES)
    except DatasetGenerationError as error:
        # It wraps what an image that is not the manifest's raised.
        raise error.__cause__ or error from None
    finally:
        if shown:
            datasets.enable_progress_bars()


WRITERS: Mapping[str, Callable[[Released, Path, Told], None]] = {
    "imagefolder": imagefolder,
    "classfolders": classfolders,
    "parquet": parquet,
    "webdataset": webdataset,
    "datasets": saved_datasets,
}
"""The writers by their names in `spti export --format`."""


def _images(released: Released, told: Told) -> Iterator[tuple[Row, bytes]]:
    for number, (row, image) in enumerate(released.images()):
        told(_WRITING, number, released.table.num_rows)
        yield row, image


def add_documents(released: Released, folder: Path, format: str) -> None:
    """Put manifest, report, datasheet and certificate beside the data, and what Croissant says of them."""
    if released.croissant is not None:
        of_data = data_described(folder, released.folder / MANIFEST, released.table, format)
        (folder / CROISSANT).write_text(written({**released.croissant, **of_data}), encoding="utf-8")
    for name, own in released.documents.items():
        shutil.copyfile(released.folder / own, folder / name)


def data_described(folder: Path, manifest: Path, table: pa.Table, format: str) -> dict[str, Any]:
    """What Croissant says of the data in an export's folder.

    Args:
        folder: The export, or the release.
        manifest: The file of the manifest.
        table: What it holds.
        format: A name in `WRITERS`.
    """
    tars = sorted((folder / "data").glob("*.tar")) if format == "webdataset" else []
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in tars}
    return described(format, class_names(table), sha256_of(manifest), hashes)


def class_names(table: pa.Table) -> list[str]:
    """The labels of a manifest in the order of their classes, which are numbered from 0."""
    return sorted(set(table["label"].to_pylist()))


def _numbers(released: Released) -> dict[str, int]:
    return {label: number for number, label in enumerate(class_names(released.table))}


def _schema(released: Released) -> pa.Schema:
    """Image, class and the manifest's columns, with the metadata by which `datasets` knows what image and class are."""
    manifest = released.table.schema
    fields: list[pa.Field] = [pa.field("image", _IMAGE)]
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for field in manifest:
        if field.name == "label":
            fields.append(pa.field("label", pa.int64()))
            features["label"] = {"names": class_names(released.table), "_type": "ClassLabel"}
            field = pa.field(LABEL_NAME, field.type)
        fields.append(field)
        features[field.name] = {"dtype": str(field.type), "_type": "Value"}
    kept = dict(manifest.metadata or {}) | {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.schema(fields, kept)


def _columns(row: Row, image: bytes, classes: Mapping[str, int]) -> dict[str, Any]:
    of_label = {"label": classes[row["label"]], LABEL_NAME: row["label"]}
    return {"image": {"bytes": image, "path": PurePosixPath(row["file"]).name}, **row, **of_label}


def _examples(released: Released) -> Iterator[dict[str, Any]]:
    classes = _numbers(released)
    for row, image in released.images():
        yield _columns(row, image, classes)


def _parts(released: Released, folder: Path, ending: str) -> Iterator[tuple[Path, list[Row]]]:
    """Yield the path and the rows of each file to write, in the manifest's order."""
    parts: list[list[Row]] = [[]]
    size = 0
    for row in released.rows():
        image = released.size(row)
        if parts[-1] and size + image > _FILE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += image
    (folder / "data").mkdir()
    for number, rows in enumerate(parts):
        yield folder / "data" / f"train-{number:05d}-of-{len(parts):05d}.{ending}", rows


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, io.BytesIO(content))
