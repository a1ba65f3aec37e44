# pyright: strict
"""Where the private data are, and whether they can be read as configured: checked at planning, before a model loads.

Error texts name configuration fields, the configured path and column names; never files of a folder or values.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from spti_ray.config import DataConfig
from spti_ray.io.files import is_url
from spti_ray.io.object_storage import absolute
from spti_ray.io.urls import problem_of_data
from spti_ray.private import listing
from spti_ray.private.checks import check
from spti_ray.private.kinds import IMAGE_SUFFIXES, DataError, Kind, Unit
from spti_ray.private.listing import Listing, list_files
from spti_ray.types import SINGLE_LABEL

__all__ = ["IMAGE_SUFFIXES", "DataError", "Source", "Unit", "describe", "fingerprint", "locate", "resolve_path"]

BUNDLED_DATA = {"stickers": "stickers.parquet"}

_WARNINGS: dict[Kind, str] = {
    "lmdb": "data.path: each value of an LMDB database is a record. One that holds each image in several sizes, as "
    "those of StyleGAN2 and face restoration do, gives an image several votes, which is not protected as one: use one "
    "of a single size"
}
"""What planning can't see, since it reads no keys, and says whenever it could be."""


@dataclass(frozen=True)
class Source:
    """Where the private records are: public facts only, and so not how many there are.

    `location`: an absolute path or a URL, the same for every process.
    """

    kind: Kind
    location: str
    data: DataConfig

    @property
    def warning(self) -> str:
        """What the user of such data must know; empty if nothing."""
        return _WARNINGS.get(self.kind, "")


def resolve_path(path: str) -> str:
    """The absolute path or URL of `data.path`; `bundled:NAME` is a file of the package. Raises `DataError`."""
    prefix, _, name = path.partition(":")
    if prefix == "bundled":
        if name not in BUNDLED_DATA:
            raise DataError(f"data.path: {path!r} is unknown; bundled data: {', '.join(sorted(BUNDLED_DATA))}")
        return str(resources.files("spti_ray") / "package_data" / "data" / BUNDLED_DATA[name])
    if problem := problem_of_data(path):
        raise DataError(problem)
    return path if is_url(path) else absolute(path)


def describe(data: DataConfig, unit: Unit = "record", label_names: tuple[str, ...] = (SINGLE_LABEL,)) -> Source:
    """Check at planning that the configured data can be read, and say where they are. Reads no record.

    Raises `DataError` with one line that names the field to change.
    """
    found = locate(data, unit, label_names)
    return Source(found.kind, resolve_path(data.path), data)


def locate(data: DataConfig, unit: Unit, label_names: tuple[str, ...]) -> Listing:
    """As `describe`, and the files in the order of their records."""
    found = list_files(data, resolve_path(data.path))
    check(found.kind, data, found.root, found.files, unit, label_names)
    return found


def fingerprint(source: Source) -> str:
    """A hash that changes when a private file is added, removed, resized or touched: for caches of what they hold, and
    to know that all processes saw the same files. File names go into it and nowhere else.

    Raises `DataError`.
    """
    kind = ""
    try:
        return listing.sha256(source.data, source.location)
    except Exception as error:  # noqa: BLE001 whose text may have names of files
        kind = type(error).__name__
    raise DataError(f"data.path: {source.location!r} can't be listed ({kind})")
