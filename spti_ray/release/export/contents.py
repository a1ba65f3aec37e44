"""Reads back what an export holds, one image at a time and without trusting it: somebody else may have written it.

What is read is what loaders read: classes by the names that the loader of the format goes by. Nothing is unpacked.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.config.parsing import parse_json
from spti_ray.io.files import IMAGE_SUFFIXES, is_inside
from spti_ray.release.export.formats import LABEL_NAME

_ROWS = 16
"""Rows of a Parquet file that are in memory at a time."""

_MEMBER = re.compile(r"([^/.][^/.]*)\.([a-z]+)")

_OF_DATASETS = {"dataset_info.json", "state.json"}


class ExportDamaged(ValueError):
    """An export's data can't be read as their format; one line."""


@dataclass(frozen=True)
class Held:
    """One image of an export.

    `name`: its file's name, as in the manifest; for WebDataset with the key that stands for it. `image`: its bytes.
    `said`: what the export says of it, by the manifest's columns: one that it says twice is there twice.
    """

    name: str
    image: bytes
    said: tuple[tuple[str, Any], ...]


Reader = Callable[[Path, list[Path], list[str]], Iterator[Held]]
"""From the folder of the data, its files and the labels by the number of their class, as the manifest has them."""


def format_of(folder: Path) -> str:
    """The format of an export by its folder `data`: a name in READERS.

    Raises:
        ExportDamaged: there is no data, or of several formats.
    """
    suffixes = {path.suffix.lower() for path in _files(folder)}
    found = {name for name, endings in _ENDINGS.items() if suffixes & endings}
    if len(found) != 1:
        what = f"holds several formats: {', '.join(sorted(found))}" if found else "holds no data that an export has"
        raise ExportDamaged(f"{folder}: {what}")
    return found.pop()


def held_in(folder: Path, classes: list[str]) -> Iterator[Held]:
    """All images of an export's folder `data`.

    Args:
        folder: The folder.
        classes: The labels by the number of their class, which the export must number alike.

    Raises:
        ExportDamaged: they can't be read, or something is among them that no export has.
    """
    name = format_of(folder)
    files = _files(folder)
    for path in files:
        # What a link leads to may be replaced, and a FIFO never ends.
        if not (is_inside(folder, path.relative_to(folder).as_posix()) and path.is_file()):
            raise ExportDamaged(f"{_shown(path, folder)} leads out of the export, or is no file")
        if path.suffix.lower() not in _ENDINGS[name] and not (name == "datasets" and path.name in _OF_DATASETS):
            raise ExportDamaged(f"{_shown(path, folder)} is no part of an export as {name}")
    try:
        yield from READERS[name](folder, files, classes)
    except ExportDamaged:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, pa.ArrowException) as error:
        raise ExportDamaged(f"{folder}: can't be read as {name} ({type(error).__name__})") from None
    except (tarfile.TarError, EOFError) as error:
        raise ExportDamaged(f"{folder}: can't be read as tar files ({type(error).__name__})") from None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _shown(path: Path, folder: Path) -> str:
    """A file's name for people. It may be anything: one line, and nothing that a terminal obeys."""
    return repr(path.relative_to(folder).as_posix()[:80])


def _classfolders(folder: Path, files: list[Path], classes: list[str]) -> Iterator[Held]:
    for path in files:
        label, _, name = path.relative_to(folder).as_posix().rpartition("/")
        yield Held(name, path.read_bytes(), (("label", label),))


def _parquet(folder: Path, files: list[Path], classes: list[str]) -> Iterator[Held]:
    for path in files:
        with pq.ParquetFile(path) as file:
            document = parse_json((file.schema_arrow.metadata or {})[b"huggingface"], twice=False)
            _check_classes(_shown(path, folder), document["info"]["features"], classes)
            for batch in file.iter_batches(batch_size=_ROWS):
                yield from _rows(batch, classes)


def _datasets(folder: Path, files: list[Path], classes: list[str]) -> Iterator[Held]:
    state = parse_json((folder / "state.json").read_bytes(), twice=False)
    read = [part["filename"] for part in state["_data_files"]]
    there = [path.relative_to(folder).as_posix() for path in files if path.suffix == ".arrow"]
    if sorted(read) != there or state.get("_indices_data_files") or state.get("_indices_files"):
        raise ExportDamaged(f"{folder}: state.json does not name each of the files beside it once, and nothing else")
    # `datasets` takes the classes' names from here, and not from the files.
    info = parse_json((folder / "dataset_info.json").read_bytes(), twice=False)
    _check_classes("dataset_info.json", info["features"], classes)
    for name in read:
        with pa.memory_map(str(folder / name)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                for start in range(0, batch.num_rows, _ROWS):
                    yield from _rows(batch.slice(start, _ROWS), classes)


def _webdataset(folder: Path, files: list[Path], classes: list[str]) -> Iterator[Held]:
    label_of = {str(number).encode(): label for number, label in enumerate(classes)}
    for path in files:
        key, parts = "", dict[str, bytes]()
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                named = _MEMBER.fullmatch(member.name)
                content = tar.extractfile(member) if member.isreg() else None
                if named is None or content is None:
                    raise ExportDamaged(f"{_shown(path, folder)}: {member.name[:80]!r} is no part of a sample")
                if named[1] != key:
                    if parts:
                        yield _sample(key, parts, label_of)
                    key, parts = named[1], {}
                if named[2] in parts:
                    raise ExportDamaged(f"{_shown(path, folder)}: {member.name[:80]!r} is there twice")
                parts[named[2]] = _whole(content, member.size)
        if parts:
            yield _sample(key, parts, label_of)


def _whole(content: IO[bytes], size: int) -> bytes:
    """A member's bytes. Its header may promise more than the file has."""
    found = content.read(size)
    if len(found) != size:
        raise EOFError
    return found


def _sample(key: str, parts: Mapping[str, bytes], label_of: Mapping[bytes, str]) -> Held:
    """One sample: its image, text, class and JSON."""
    (image,) = [ending for ending in parts if f".{ending}" in IMAGE_SUFFIXES]
    if set(parts) != {image, "txt", "cls", "json"}:
        raise ExportDamaged(f"sample {key[:80]!r} has {', '.join(sorted(parts))} in place of an image, txt, cls, json")
    said = parse_json(parts["json"], twice=False)
    label = label_of.get(parts["cls"])
    return Held(f"{key}.{image}", parts[image], (*said.items(), ("text", parts["txt"].decode()), ("label", label)))


def _check_classes(where: str, features: Mapping[str, Any], classes: list[str]) -> None:
    """Refuse a file by which `datasets` would give the numbers of classes other names than the manifest has."""
    of_label = features["label"]
    if of_label["_type"] != "ClassLabel" or of_label["names"] != classes:
        raise ExportDamaged(f"{where}: its classes are not the labels of the manifest")


def _rows(batch: pa.RecordBatch, classes: list[str]) -> Iterator[Held]:
    if len(set(batch.schema.names)) != len(batch.schema.names):
        raise ExportDamaged("a column is there twice")
    label_of = dict(enumerate(classes))
    for row in batch.to_pylist():
        image, number = row.pop("image"), row.pop("label")
        said = [(name if name != LABEL_NAME else "label", value) for name, value in row.items()]
        yield Held(str(image["path"]), image["bytes"], (*said, ("label", label_of.get(number))))


_ENDINGS: Mapping[str, frozenset[str]] = {
    "parquet": frozenset({".parquet"}),
    "webdataset": frozenset({".tar"}),
    "datasets": frozenset({".arrow"}),
    "classfolders": IMAGE_SUFFIXES,
}

READERS: Mapping[str, Reader] = {
    "parquet": _parquet,
    "webdataset": _webdataset,
    "datasets": _datasets,
    "classfolders": _classfolders,
}
"""The readers by their names in `spti export --format`. An imagefolder is a release, and is read as one."""
