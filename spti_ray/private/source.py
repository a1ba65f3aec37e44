# pyright: strict
"""The source of the private data: where they are, and the check at planning that they can be read as configured.

Error texts name configuration fields, the configured path and column names; never a file of a folder or a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

from spti_ray.config import DataConfig
from spti_ray.io.files import IMAGE_SUFFIXES, is_url
from spti_ray.io.object_storage import absolute
from spti_ray.io.urls import problem_of_data
from spti_ray.private import listing
from spti_ray.private.checks import check
from spti_ray.private.kinds import DataError, Kind, Unit
from spti_ray.private.listing import Listing, list_files
from spti_ray.types import SINGLE_LABEL

__all__ = [
    "IMAGE_SUFFIXES",
    "DataError",
    "Source",
    "Unit",
    "content_fingerprint",
    "describe",
    "fingerprint",
    "locate",
    "resolve_path",
]

BUNDLED_DATA = {"stickers": "stickers.parquet"}

_WARNINGS: dict[Kind, str] = {
    "lmdb": "data.path: each value of an LMDB database is a record. One that holds each image in several sizes, as "
    "those of StyleGAN2 and face restoration do, gives an image several votes, which is not protected as one: use one "
    "of a single size",
    "dicom": "data.path: a DICOM file is a record, and a patient may have many: privacy.unit: group with "
    "data.group_column: PatientID protects patients. Nothing is removed from the images, such as names burnt into the "
    "pixels: de-identification is up to the data's owner",
}
"""By kind of data, a danger that planning can't detect, since it reads no record, and always mentions."""


@dataclass(frozen=True)
class Source:
    """Where the private records are. Public facts only, so not how many there are.

    `location` is an absolute path or a URL, the same for every process.
    """

    kind: Kind
    location: str
    data: DataConfig

    @property
    def warning(self) -> str:
        """What the user of this kind of data must know; empty if nothing."""
        return _WARNINGS.get(self.kind, "")


def resolve_path(path: str) -> str:
    """The absolute path or URL of `data.path`; `bundled:NAME` is a file of the package.

    Raises:
        DataError: bundled data of that name are unknown, or data can't be read from such a URL.
    """
    prefix, _, name = path.partition(":")
    if prefix == "bundled":
        if name not in BUNDLED_DATA:
            raise DataError(f"data.path: {path!r} is unknown; bundled data: {', '.join(sorted(BUNDLED_DATA))}")
        return str(resources.files("spti_ray") / "package_data" / "data" / BUNDLED_DATA[name])
    if problem := problem_of_data(path):
        raise DataError(problem)
    return path if is_url(path) else absolute(path)


def describe(data: DataConfig, unit: Unit = "record", label_names: tuple[str, ...] = (SINGLE_LABEL,)) -> Source:
    """Check at planning that the configured data can be read. Reads no record.

    Args:
        label_names: the configured labels, or ("all",) for none.

    Raises:
        DataError: they can't; one line that names the field to change.
    """
    found = locate(data, unit, label_names)
    return Source(found.kind, resolve_path(data.path), data)


def locate(data: DataConfig, unit: Unit, label_names: tuple[str, ...]) -> Listing:
    """As `describe`, but returns the files in the order of their records."""
    found = list_files(data, resolve_path(data.path))
    check(found.kind, data, found.root, found.files, unit, label_names)
    return found


def fingerprint(source: Source) -> str:
    """A hash that changes when a private file is added, removed, resized or touched.

    For caches of what the files hold, and to check that all processes saw the same files. File names go into the hash
    and nowhere else.

    Raises:
        DataError: the data can't be listed.
    """
    return _hashed(source, listing.sha256)


def content_fingerprint(source: Source) -> str:
    """A hash of what the private files hold and are named, wherever they lie, for caches that several runs share.

    It says something about private files: it goes into the names of internal files and into internal results alone.

    Raises:
        DataError: the data can't be listed or read.
    """
    return _hashed(source, listing.content_sha256)


def _hashed(source: Source, of: Callable[[DataConfig, str], str]) -> str:
    kind = ""
    try:
        return of(source.data, source.location)
    except Exception as error:  # noqa: BLE001 the text may name files
        kind = type(error).__name__
    raise DataError(f"data.path: {source.location!r} can't be listed ({kind})")
