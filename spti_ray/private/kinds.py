# pyright: strict
"""The kinds of data and of units, and the errors about data that can't be used."""

from __future__ import annotations

from typing import Literal

from spti_ray.io.files import IMAGE_SUFFIXES as IMAGE_SUFFIXES  # also for who asks here

Unit = Literal["record", "group"]
Kind = Literal["folder", "parquet", "datasets", "webdataset", "zip", "lmdb"]


class DataError(ValueError):
    """The configured data can't be used; one line that names the configuration field and what to do."""


class NoRecordCanVote(DataError):
    """The data can be read, but not one record of them can vote: told before anything is spent, and told so bluntly
    only because it holds for the whole set."""
