# pyright: strict
"""Where the private data are, and whether they can be read as configured: checked at planning, before a model loads.

Error texts name configuration fields, the configured path and column names; never files of a folder or values.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from spti_ray.config import DataConfig
from spti_ray.files import is_url
from spti_ray.places import Place, place
from spti_ray.private import metadata
from spti_ray.private.checks import IMAGE_SUFFIXES, DataError, Kind, Unit, check
from spti_ray.private.lmdbs import LMDB_SUFFIXES, LOCK
from spti_ray.private.tables import ARROW_SUFFIX, STATE, saved_files
from spti_ray.private.tars import TAR_SUFFIXES
from spti_ray.private.zips import ZIP_SUFFIX
from spti_ray.types import SINGLE_LABEL

BUNDLED_DATA = {"stickers": "stickers.parquet"}


_IN_WORDS: dict[Kind, str] = {
    "folder": "images",
    "parquet": "Parquet files",
    "datasets": "Arrow files",
    "webdataset": "tar files",
    "zip": "zip files",
    "lmdb": "LMDB databases",
}
_ENDINGS: tuple[tuple[tuple[str, ...], Kind], ...] = (
    ((".parquet",), "parquet"),
    ((ARROW_SUFFIX,), "datasets"),
    (TAR_SUFFIXES, "webdataset"),
    ((ZIP_SUFFIX,), "zip"),
    (LMDB_SUFFIXES, "lmdb"),
    (tuple(IMAGE_SUFFIXES), "folder"),
)
_SUFFIXES = tuple(suffix for suffixes, _ in _ENDINGS for suffix in suffixes)


@dataclass(frozen=True)
class Source:
    """Where the private records are: public facts only, and so not how many there are.

    `location`: an absolute path or a URL, the same for every process.
    """

    kind: Kind
    location: str


def resolve_path(path: str) -> str:
    """The absolute path or URL of `data.path`; `bundled:NAME` is a file of the package. Raises `DataError`."""
    prefix, _, name = path.partition(":")
    if prefix == "bundled":
        if name not in BUNDLED_DATA:
            raise DataError(f"data.path: {path!r} is unknown; bundled data: {', '.join(sorted(BUNDLED_DATA))}")
        return str(resources.files("spti_ray") / "package_data" / "data" / BUNDLED_DATA[name])
    return path if is_url(path) else str(Path(path).expanduser().resolve())


def describe(data: DataConfig, unit: Unit = "record", label_names: tuple[str, ...] = (SINGLE_LABEL,)) -> Source:
    """Check at planning that the configured data can be read, and say where they are. Reads no record.

    Raises `DataError` with one line that names the field to change.
    """
    return locate(data, unit, label_names)[0]


def locate(data: DataConfig, unit: Unit, label_names: tuple[str, ...]) -> tuple[Source, list[Place]]:
    """As `describe`, and the files in the order of their records; none for a local folder of images."""
    location = resolve_path(data.path)
    is_folder = False
    if not is_url(location):
        path = Path(location)
        is_folder = path.is_dir()
        if not path.exists():
            raise DataError(f"data.path: {data.path!r} does not exist; give images or files of images")
        if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
            raise DataError(f"data.path: {data.path!r} can't be read; check its permissions")
    found = _files_by_kind(data, location)
    if is_folder and next(image_files(Path(location)), None) is not None:
        found["folder"] = []
    if len(found) > 1:
        both = " and ".join(_IN_WORDS[kind] for kind in sorted(found))
        raise DataError(f"data.path: the folder {data.path!r} holds {both}; separate them, or name one file")
    if not found:
        known = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise DataError(
            f"data.path: the folder {data.path!r} holds no image file ({known}) and no Parquet, tar or "
            "zip file, no LMDB database and no data set that datasets' save_to_disk wrote"
        )
    ((kind, files),) = found.items()
    check(kind, data, place(location), files, unit, label_names)
    return Source(kind, location), files


def _files_by_kind(data: DataConfig, location: str) -> dict[Kind, list[Place]]:
    """The data's files, but for local images: those are listed by `image_files`."""
    reason = ""
    try:
        root = place(location)
        if root.kind == "file":
            kind = _kind_of(root) or "parquet"
            if kind == "folder":
                raise ValueError("is a single image; give the folder that it is in")
            return {kind: [root]}
        found: dict[Kind, list[Place]] = {}
        states: list[Place] = []
        wanted = _SUFFIXES if root.remote else tuple(suffix for suffix in _SUFFIXES if suffix not in IMAGE_SUFFIXES)
        for file in root.files((*wanted, STATE)):
            if kind := _kind_of(file):
                found.setdefault(kind, []).append(file)
            elif file.name == STATE:
                states.append(file)
        if arrows := saved_files(states, found.pop("datasets", [])):
            found["datasets"] = arrows
        return found
    except ValueError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote what it was answered
        reason = f"can't be reached ({type(error).__name__}); check the URL and the credentials in the environment"
    raise DataError(f"data.path: {data.path!r} {reason}")


def _kind_of(file: Place) -> Kind | None:
    """What a file's name says that it is."""
    if file.name.lower() == LOCK:
        return None
    return next((kind for suffixes, kind in _ENDINGS if file.path.lower().endswith(suffixes)), None)


def fingerprint(source: Source) -> str:
    """A hash that changes when a private file is added, removed, resized or touched; for caches of what they hold.

    Of every file, since a folder's own time does not change when a file in it does, or in a sub-folder. File names go
    into the hash and nowhere else; a file that can't be looked at counts by its name alone.
    """
    digest = hashlib.sha256(os.fsencode(source.location))
    if source.kind == "folder" and not is_url(source.location):
        tables = (Path(source.location, name) for name in metadata.FILES)
        for file in sorted((*image_files(Path(source.location)), *tables)):
            digest.update(b"\0" + os.fsencode(file))
            try:
                stat = file.stat()
            except OSError:
                continue
            digest.update(f"\0{stat.st_size}:{stat.st_mtime_ns}".encode())
    else:
        for found in place(source.location).files((*_SUFFIXES, STATE, *metadata.FILES)):
            if _kind_of(found) is None and found.name not in (STATE, *metadata.FILES):
                continue  # a lock, which whoever reads the database touches
            digest.update(b"\0" + os.fsencode(found.path) + f"\0{found.version()}".encode())
    return digest.hexdigest()


def image_files(folder: Path) -> Iterator[Path]:
    """Image files under the folder by extension, in no set order; hidden files and folders are left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield Path(root, name)
