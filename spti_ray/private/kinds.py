# pyright: strict
"""The formats of private data, the privacy units, and the errors about data that can't be used."""

from __future__ import annotations

from typing import Literal

from spti_ray.io.files import IMAGE_SUFFIXES as IMAGE_SUFFIXES  # also for importers of this module

Unit = Literal["record", "group"]
"""The privacy unit: what the guarantee protects, one record or all records of a group."""
Kind = Literal["folder", "parquet", "datasets", "webdataset", "zip", "lmdb", "dicom"]


class DataError(ValueError):
    """The configured data can't be used; one line that names the configuration field and what to do."""


class NoRecordCanVote(DataError):
    """The data can be read, but no record can vote. Raised before anything is spent.

    It may be said only because it holds for the whole set: nothing is said about a single record.
    """
