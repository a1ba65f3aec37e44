"""Writes a release in one of four formats into an empty folder, one image at a time, byte for byte.

Parquet and WebDataset files are named as Hugging Face names the parts of a split, so that its loaders can tell them
from the documents beside them. They hold nothing about this machine: no times, no owners, no paths.
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

from spti_ray.release.export.released import NotExported, Released, Row

_FILE_BYTES = 500 * 2**20
"""Bytes of images in one Parquet or tar file, about: an image is never split."""

_ROW_GROUP = 100
"""Rows in a group, of which a reader holds one in memory; `datasets` uses the same number for images."""

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def imagefolder(released: Released, folder: Path) -> None:
    """The release as it is: `images/`, and `metadata.jsonl` with the texts and labels, as Hugging Face reads it."""
    (folder / "images").mkdir()
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for row, image in released.images():
            (folder / row["file"]).write_bytes(image)
            line = {"file_name": row["file"], "text": row["text"], "label": row["label"]}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def parquet(released: Released, folder: Path) -> None:
    """Columns `image` (a struct of bytes and path, which `datasets` opens as an image) and all of the manifest."""
    schema = _schema(released)
    for name, rows in _parts(released, folder, "parquet"):
        with pq.ParquetWriter(name, schema, compression="zstd") as writer:
            for start in range(0, len(rows), _ROW_GROUP):
                group = [_with_image(row, released.image(row)) for row in rows[start : start + _ROW_GROUP]]
                writer.write_table(pa.Table.from_pylist(group, schema))


def webdataset(released: Released, folder: Path) -> None:
    """Samples of an image, its text as `txt`, and all of the manifest (label, seed, ...) as `json`."""
    for name, rows in _parts(released, folder, "tar"):
        with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as tar:
            for row in rows:
                path = PurePosixPath(row["file"])
                key = path.stem.replace(".", "-")  # A key ends at the first dot.
                _add(tar, f"{key}{path.suffix.lower()}", released.image(row))
                _add(tar, f"{key}.txt", row["text"].encode())
                _add(tar, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())


def saved_datasets(released: Released, folder: Path) -> None:
    """What `save_to_disk` of Hugging Face `datasets` writes, with the columns of `parquet`."""
    try:
        import datasets
        from datasets.exceptions import DatasetGenerationError
    except ImportError:
        raise NotExported("--format datasets needs another library: pip install 'spti-ray[datasets]'") from None
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


WRITERS: Mapping[str, Callable[[Released, Path], None]] = {
    "imagefolder": imagefolder,
    "parquet": parquet,
    "webdataset": webdataset,
    "datasets": saved_datasets,
}
"""The writers by their names in `spti export --format`."""


def add_documents(released: Released, folder: Path) -> None:
    """Put manifest, report, datasheet and certificate beside the data."""
    for name in released.documents:
        shutil.copyfile(released.folder / name, folder / name)


def _schema(released: Released) -> pa.Schema:
    """`image` and the manifest's columns, with the metadata by which `datasets` knows that `image` is an image."""
    manifest = released.table.schema
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    features |= {field.name: {"dtype": str(field.type), "_type": "Value"} for field in manifest}
    kept = dict(manifest.metadata or {}) | {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.schema([pa.field("image", _IMAGE), *manifest], kept)


def _with_image(row: Row, image: bytes) -> dict[str, Any]:
    return {"image": {"bytes": image, "path": PurePosixPath(row["file"]).name}, **row}


def _examples(released: Released) -> Iterator[dict[str, Any]]:
    for row, image in released.images():
        yield _with_image(row, image)


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
