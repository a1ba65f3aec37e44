# pyright: strict
"""The files that hold the private records, listed in an order that is the same for every process.

One file under two names would give a record two votes, and choosing one of the names would make a record depend on
another, so it is refused. A link out of the data's folder is refused too, unless `data.follow_links` is set.
Error texts name configuration fields and the configured path; never a file of a folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from spti_ray.config import DataConfig
from spti_ray.io.files import IMAGE_SUFFIXES
from spti_ray.io.object_storage import LEAVES, LinkError, StoragePath, absolute, is_within, storage_path
from spti_ray.private import metadata
from spti_ray.private.dicom import DICOM_SUFFIXES, may_be_dicom, missing_extra
from spti_ray.private.kinds import DataError, Kind
from spti_ray.private.lmdbs import LMDB_SUFFIXES, LOCK
from spti_ray.private.schemas import holds_paths
from spti_ray.private.tables import ARROW_SUFFIX, STATE, saved_files
from spti_ray.private.tars import TAR_SUFFIXES
from spti_ray.private.zips import ZIP_SUFFIX

_IN_WORDS: dict[Kind, str] = {
    "folder": "images",
    "parquet": "Parquet files",
    "datasets": "Arrow files",
    "webdataset": "tar files",
    "zip": "zip files",
    "lmdb": "LMDB databases",
    "dicom": "DICOM files",
}
_ENDINGS: tuple[tuple[tuple[str, ...], Kind], ...] = (
    ((".parquet",), "parquet"),
    ((ARROW_SUFFIX,), "datasets"),
    (TAR_SUFFIXES, "webdataset"),
    ((ZIP_SUFFIX,), "zip"),
    (LMDB_SUFFIXES, "lmdb"),
    (DICOM_SUFFIXES, "dicom"),
    (tuple(IMAGE_SUFFIXES), "folder"),
)
_IMAGES: tuple[Kind, ...] = ("folder", "dicom")
"""Kinds of which each file is an image."""

_PACKAGE = absolute(str(resources.files("spti_ray") / "package_data"))
_SUFFIXES = tuple(suffix for suffixes, _ in _ENDINGS for suffix in suffixes)

CHANGED = "changed while the run started, or differ between machines; run again when nothing writes to them"


@dataclass(frozen=True, repr=False)
class Listing:
    """The files of a data set.

    `files` hold the records, in the records' order. `sha256` is of the names, sizes and times of all files that are
    read. It says something about the names, so it stays in memory or in the internal folder.
    """

    kind: Kind
    root: StoragePath
    files: tuple[StoragePath, ...]
    sha256: str


def list_files(data: DataConfig, location: str) -> Listing:
    """List the data.

    Args:
        location: their absolute path or URL.

    Raises:
        DataError: one line that names the field to change.
    """
    reason = ""
    try:
        root = storage_path(location).with_info()
        if root.kind == "missing":
            raise DataError(f"data.path: {data.path!r} does not exist; give images or files of images")
        every = root.files(_endings(data), data.follow_links)
        found = _by_kind(data, root, every)
        kind = _kind_of_all(data, root, found)
        files = found.get(kind, [])
        _refuse_aliases(data, files)
        return Listing(kind, root, tuple(files), _sha256(data, root, every))
    except DataError as error:
        reason = str(error)
    except UnicodeError:
        reason = f"data.path: {data.path!r} holds a name that the store can't tell; rename it"
    except ValueError as error:  # a LinkError, or from `storage_path` and `saved_files`, whose texts are fixed
        reason = f"data.path: {data.path!r} {error}"
    except PermissionError:
        reason = f"data.path: {data.path!r} or a folder in it can't be read; check its permissions"
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote what it was answered
        reason = (
            f"data.path: {data.path!r} can't be listed or can't be reached ({type(error).__name__}); "
            "check the folder, or the URL and the credentials in the environment"
        )
    raise DataError(reason)


def sha256(data: DataConfig, location: str) -> str:
    """The hash of `list_files`, without its checks. Raises OSError and ValueError."""
    root = storage_path(location).with_info()
    return _sha256(data, root, root.files(_endings(data), data.follow_links))


def content_sha256(data: DataConfig, location: str) -> str:
    """A hash of the names and contents of all files that are read; of data in object storage, of `sha256`'s facts.

    Copies of the data elsewhere have the same hash, and a file that was written again with its old size and time has
    another. Reading every byte of a bucket would cost more than it tells: its own times can't be set by a user.

    Raises OSError and ValueError.
    """
    root = storage_path(location).with_info()
    every = root.files(_endings(data), data.follow_links)
    if root.remote:
        return _sha256(data, root, every)
    digest = hashlib.sha256()
    for file in (*every, *_beside(data, root)):
        if kind_of(file, data) is not None or file.name in (STATE, *metadata.FILES):
            # A file beside a single table is named from the table's folder.
            folder = replace(root, path=root.path.rpartition("/")[0]) if root.kind == "file" else root
            with open(file.path, "rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(b"\0" + os.fsencode(file.relative_to(folder)) + f"\0{content}".encode())
    return digest.hexdigest()


def _sha256(data: DataConfig, root: StoragePath, every: Iterable[StoragePath]) -> str:
    """A hash over every file. A folder's own time does not change when a file in it or below it is written."""
    every = (*every, *_beside(data, root))
    digest = hashlib.sha256(os.fsencode(root.path))
    for file in every:
        if kind_of(file, data) is not None or file.name in (
            STATE,
            *metadata.FILES,
        ):  # not the lock file, which readers touch
            # Bundled data are public, and every machine installed the package at another time.
            version = str(file.size) if is_within(file.path, _PACKAGE) else file.version()
            digest.update(b"\0" + os.fsencode(file.path) + f"\0{version}".encode())
    return digest.hexdigest()


def _beside(data: DataConfig, table: StoragePath) -> list[StoragePath]:
    """The images in the folder of a single table that names its images by paths.

    They matter for caches only, since records are the table's rows; so a folder that can't be listed is no error.
    """
    if table.kind == "file" and kind_of(table, data) == "parquet":
        with suppress(Exception):
            if holds_paths(table, data.image_column):
                folder = replace(table, path=table.path.rpartition("/")[0], listed=None)
                return folder.files(IMAGE_SUFFIXES, data.follow_links)
    return []


def _by_kind(data: DataConfig, root: StoragePath, every: Sequence[StoragePath]) -> dict[Kind, list[StoragePath]]:
    """The files of each kind.

    Tables and archives whose name, or whose folder's name, begins with an underscore are left out, since big-data tools
    name their own files so. Images are not, since cameras name images so.
    """
    if root.kind != "folder":
        if not root.remote and not os.access(root.path, os.R_OK):
            raise PermissionError
        kind = kind_of(root, data) or data.format or "parquet"
        if kind in _IMAGES:
            raise ValueError("is a single image; give the folder that it is in")
        return {kind: [root]}
    found: dict[Kind, list[StoragePath]] = {}
    states: list[StoragePath] = []
    for file in every:
        kind = kind_of(file, data)
        if kind not in _IMAGES and any(part.startswith("_") for part in file.relative_to(root).split("/")):
            continue
        if kind is not None:
            found.setdefault(kind, []).append(file)
        elif file.name == STATE:
            states.append(file)
    if arrows := saved_files(states, found.pop("datasets", [])):
        found["datasets"] = arrows
    return found


def _kind_of_all(data: DataConfig, root: StoragePath, found: dict[Kind, list[StoragePath]]) -> Kind:
    """The configured kind, or the only one that was found."""
    if data.format is not None:
        if data.format not in found:
            raise DataError(f"data.format: {data.path!r} holds no {_IN_WORDS[data.format]}; unset it, or name another")
        return data.format
    if len(found) > 1:
        both = " and ".join(_IN_WORDS[kind] for kind in sorted(found))
        raise DataError(
            f"data.path: the folder {data.path!r} holds {both}; separate them, name one file, or set data.format"
            + (f" (dicom reads the DICOM files alone{missing_extra()})" if "dicom" in found else "")
        )
    if not found:
        known = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise DataError(
            f"data.path: the folder {data.path!r} holds no image file ({known}) and no Parquet, tar or "
            "zip file, no LMDB database, no data set that datasets' save_to_disk wrote and no DICOM file (.dcm; those "
            "without an ending need data.format: dicom)"
        )
    return next(iter(found))


def _refuse_aliases(data: DataConfig, files: Sequence[StoragePath]) -> None:
    """Raise LinkError if one file has two names, or if a link leads out of the folder without `follow_links`."""
    every = [file.listed for file in files if file.listed is not None]
    if not data.follow_links and any(facts.leaves for facts in every):
        raise LinkError(LEAVES)
    twice = len({file.path for file in files}) < len(files)
    if any(facts.aliased for facts in every):
        # Some file systems give several files the same inode number, so it only counts for files that have links.
        seen: dict[tuple[int, int], bool] = {}
        for facts in every:
            before = seen.get(facts.identity)
            twice |= before is not None and (before or facts.aliased) and facts.kind == "file"
            seen[facts.identity] = before or facts.aliased
    if twice:
        raise LinkError(
            "holds one file under two names, which would be one record with two votes; remove one of them (find PATH "
            "-type l lists links, and find PATH -links +1 -type f files with two names)"
        )


def _endings(data: DataConfig) -> tuple[str, ...]:
    """Endings of the files to list: of DICOM files every one, since most archives give them none."""
    return ("",) if data.format == "dicom" else (*_SUFFIXES, STATE, *metadata.FILES)


def kind_of(file: StoragePath, data: DataConfig) -> Kind | None:
    """The kind of data by a file's name; None for other files."""
    if file.name.lower() == LOCK:
        return None
    if data.format == "dicom" and may_be_dicom(file.name):
        return "dicom"
    return next((kind for suffixes, kind in _ENDINGS if file.path.lower().endswith(suffixes)), None)


def image_files(folder: Path) -> list[Path]:
    """All images in a folder and below it, sorted. Raises `DataError` if a folder can't be listed."""
    reason = ""
    try:
        root = storage_path(str(folder))
        return [folder / file.relative_to(root) for file in root.files(IMAGE_SUFFIXES, follow_links=True)]
    except LinkError as error:
        reason = str(error)
    except OSError as error:
        reason = f"or a folder in it can't be listed ({type(error).__name__})"
    raise DataError(f"{folder} {reason}")
