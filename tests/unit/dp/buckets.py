"""Buckets that are folders of this machine: object stores like any other, which create an object once and never twice.

What every chain promises is tested in them, in as many processes as a test likes. What only a server does, such as to
lose an answer, is tested on one: `tests/s3.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from obstore.store import LocalStore

from spti_ray.dp import object_store

FOLDER = "SPTI_TEST_BUCKETS"
"""Names the folder of the buckets to this process and to those that it starts."""


def open_bucket(url: str, **_: Any) -> LocalStore:
    """The store of s3://bucket/folder: BUCKETS/bucket/folder."""
    return LocalStore(Path(os.environ[FOLDER]) / url.removeprefix("s3://"), mkdir=True)


def use_buckets() -> None:
    """From now on chains of this process are kept in them, where the environment says so."""
    if FOLDER in os.environ:
        object_store.from_url = open_bucket
